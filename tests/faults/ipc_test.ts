// run: kernel-queues, deadline 300 (what the kernel grants a user's queues is there only once)
import { ipcFaults, IpcGround } from "./ipc.ts";
import { faultsOf } from "./scenario.ts";

faultsOf("ipc", undefined, ipcFaults, () => Promise.resolve(new IpcGround()));
