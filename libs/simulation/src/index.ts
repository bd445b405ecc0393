export { SimulatedBroker, type Describe } from './broker.ts';
export { SimulatedDisk } from './disk.ts';
export { digestOf, eventLines, eventsVersion, type SimulationEvent } from './events.ts';
export {
  brokerKinds,
  FaultPlan,
  kindOf,
  kinds,
  outageKinds,
  paceKinds,
  processKinds,
  standstillKinds,
  timeKinds,
  type Fault,
  type KindName,
} from './faults.ts';
export { readSaved, simulateProgram, type Asked, type Recorded } from './program.ts';
export { SimulatedRegistry } from './registry.ts';
export { failureText, findFailure, runSeed, simulateSeeds, type Failure } from './seeds.ts';
export {
  noProgramFails,
  promisesOf,
  runScenario,
  scenarioOf,
  type Outcome,
  type Scenario,
  type SimulatedSystem,
  type Workload,
} from './system.ts';
export { PromiseBroken, TimeOfDay, World, type Life } from './world.ts';
