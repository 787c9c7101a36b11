// run: waiting, deadline 240
import { memoryFaults, MemoryGround } from "./memory.ts";
import { faultsOf } from "./scenario.ts";

faultsOf("memory", undefined, memoryFaults, () => Promise.resolve(new MemoryGround()));
