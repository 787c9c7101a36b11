/** The worker of the NATS provider: to be under `exports` of its package. @module */
import { serve } from "@tsmq/tsmq/worker";
import { openReceiver } from "./receiver.ts";

serve(openReceiver);
