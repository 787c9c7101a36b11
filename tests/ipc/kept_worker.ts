/** The worker of the IPC provider for `kept_workers.ts`. It tells when the receiver of its bus has closed. */
import { serve } from "../../src/port/host.ts";
import { openReceiver } from "../../src/providers/ipc/receiver.ts";
import { FREE } from "./kept_workers.ts";

serve(async (context) => {
  const receiver = await openReceiver(context);
  const close = receiver.close.bind(receiver);
  return Object.assign(receiver, {
    close: async () => {
      const uncertain = await close();
      (globalThis as unknown as { postMessage(message: unknown): void }).postMessage({ kind: FREE });
      return uncertain;
    },
  });
});
