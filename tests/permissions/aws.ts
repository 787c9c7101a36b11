import { aws } from "../../src/providers/aws/provider.ts";
import { run } from "./life.ts";

await run(aws);
