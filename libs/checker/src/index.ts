export { assertLinearizable, check, NotLinearizableError, type Failure, type Model, type Verdict } from './check.ts';
export { explain } from './explain.ts';
export { decodeHistory, encodeHistory, History, type Call, type Invocation, type Operation } from './history.ts';
export * from './models.ts';
