/** The worker of the IPC provider. @module */
import { serve } from "../src/port/host.ts";
import { openReceiver } from "../src/providers/ipc/receiver.ts";

serve(openReceiver);
