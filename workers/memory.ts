/** The worker of the in-memory provider. @module */
import { serve } from "../src/port/host.ts";
import { openReceiver } from "../src/providers/memory/receiver.ts";

serve(openReceiver);
