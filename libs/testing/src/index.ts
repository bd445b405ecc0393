export { compareInTurn, explainBench, median, reportBench, type BenchOutput, type BenchRow, type Comparison } from './bench.ts';
export { eventually, type EventuallyOptions } from './eventually.ts';
export { FakeClock } from './fake-clock.ts';
export { freePort } from './free-port.ts';
export { changedCode, makeMutant, withMistake, type Mistake, type Mutant } from './mutant.ts';
export { seededRandom, type Random } from './random.ts';
export { simulate, type SimulationOptions } from './simulate.ts';
export { startTcpProxy, type TcpProxy, type TcpProxyOptions } from './tcp-proxy.ts';
