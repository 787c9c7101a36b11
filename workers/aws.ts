/** The worker of the AWS provider. @module */
import { serve } from "../src/port/host.ts";
import { openReceiver } from "../src/providers/aws/receiver.ts";

serve(openReceiver);
