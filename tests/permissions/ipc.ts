import { ipc } from "../../src/providers/ipc/provider.ts";
import { run } from "./life.ts";

await run(ipc);
