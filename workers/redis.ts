/** The worker of the Redis provider. @module */
import { serve } from "../src/port/host.ts";
import { openReceiver } from "../src/providers/redis/receiver.ts";

serve(openReceiver);
