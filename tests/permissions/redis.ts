import { redis } from "../../src/providers/redis/provider.ts";
import { run } from "./life.ts";

await run(redis);
