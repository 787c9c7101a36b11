/** The worker of the Redis provider. @module */
import { serveModule } from "../src/port/host.ts";

serveModule(import("../src/providers/redis/receiver.ts"));
