/** Gives a test file POSIX message queues of its own. */

/** The capabilities of root that tests use: for files and processes of others, for mounts, to become another user. */
const CAPABILITIES = ["chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid"]
  .concat("setpcap", "sys_admin").map((name) => `+${name}`).join();

/**
 * Returns a command that runs another one in an IPC namespace of its own with an empty `/dev/shm`. Its user id is new as well,
 * because the kernel counts the queues of a user in all namespaces together (RLIMIT_MSGQUEUE).
 */
export function ownQueues(command: readonly string[]): string[] {
  const user = 100_000 + crypto.getRandomValues(new Uint32Array(1))[0]! % 2 ** 30;
  const become = `setpriv --reuid=${user} --inh-caps=${CAPABILITIES} --ambient-caps=${CAPABILITIES}`;
  const script = `mount -t tmpfs -o mode=1777 tsmq /dev/shm && exec ${become} "$@"`;
  return ["unshare", "--ipc", "--mount", "sh", "-c", script, "sh", ...command];
}

/** Returns why a file cannot have its own queues here; undefined if it can. */
export async function noOwnQueues(): Promise<string | undefined> {
  const [program, ...args] = ownQueues(["true"]);
  try {
    const { success, stderr } = await new Deno.Command(program!, { args, stdin: "null" }).output();
    return success ? undefined : new TextDecoder().decode(stderr).trim();
  } catch (error) {
    return String(error);
  }
}
