/** The worker of the AWS provider. @module */
import { serveModule } from "../src/port/host.ts";

serveModule(import("../src/providers/aws/receiver.ts"));
