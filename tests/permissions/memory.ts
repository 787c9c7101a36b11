import { memory } from "../../src/providers/memory/provider.ts";
import { run } from "./life.ts";

await run(memory);
