/** Runs work, and returns the texts of the warnings that tsmq writes to the console meanwhile. Those of others are whole. */
export async function warnings(work: () => unknown): Promise<string[]> {
  const original = console.warn;
  const written: string[] = [];
  console.warn = (...args: unknown[]) => {
    const [format, ...texts] = args;
    written.push((format === "tsmq: %s" ? texts : args).join(" "));
  };
  try {
    await work();
  } finally {
    console.warn = original;
  }
  return written;
}
