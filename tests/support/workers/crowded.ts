/** The worker of IPC, in which there are only `free` descriptors left while it opens. */
import { serve } from "../../../src/port/host.ts";
import { loadPosix } from "../../../src/providers/ipc/posix.ts";
import { openReceiver } from "../../../src/providers/ipc/receiver.ts";

serve(async (context) => {
  const posix = await loadPosix();
  const held: number[] = [];
  for (let descriptor; (descriptor = posix.bell()) >= 0;) held.push(descriptor);
  for (let i = 0; i < (context.options as { free: number }).free; i++) posix.close(held.pop()!);
  try {
    return await openReceiver(context);
  } finally {
    for (const descriptor of held) posix.close(descriptor);
  }
});
