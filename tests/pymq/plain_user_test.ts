/** A server of PyMQ and its tsmq caller as processes of one plain user with the default limits. */
// run: on bun, kernel-queues
import { assert, assertEquals } from "@std/assert";
import { describe } from "@std/testing/bdd";
import { execFileSync, spawnSync } from "node:child_process";
import { basename, dirname } from "node:path";
import process from "node:process";
import { become } from "../ipc/ground.ts";
import { Child, makeDir } from "../support/child.ts";
import { here } from "../support/peer.ts";
import { itNeeds, skip } from "../support/skip.ts";
import { missing, tool } from "../support/tools.ts";

/** A user of this run alone, because the kernel counts the queues of a user. */
const USER = 40_000 + Math.floor(Math.random() * 20_000);
/** The default of RLIMIT_MSGQUEUE in bytes: nine queues of PyMQ's size. */
const LIMIT = 819_200;

/** Commands that enter new namespaces as their root, and that become the plain user there: for root of the machine, and for any user. */
const WAYS = [
  { enter: ["setpriv", "--reuid=0", "unshare", "--ipc", "--mount"], leave: become(USER) },
  {
    enter: ["unshare", "--user", "--map-root-user", "--ipc", "--mount"],
    leave: ["unshare", "--user", `--map-user=${USER}`, `--map-group=${USER}`],
  },
];

/**
 * Makes a place for the test, which needs root. PyMQ needs two of the mounts: it looks for `/run/shm`, and its server drops an answer if it
 * does not see the queue for it in `/dev/mqueue`. The others separate the test from the machine, and show the plain user the programs and
 * this repository, which may be in directories of root. The last arguments are the command that becomes the plain user.
 */
const PREPARE = `set -e
home=$1 root=$2 runtime=$3 prefix=$4 python=$5 packages=$6
shift 6
mount -t tmpfs -o mode=1777 none /dev/shm
mount -t tmpfs none /run
mkdir /run/shm
mount --bind /dev/shm /run/shm
mount -t mqueue none /dev/mqueue
mount -t tmpfs -o mode=1777 none "$home"
mkdir "$home/tsmq" "$home/runtime" "$home/python" "$home/packages"
mount --rbind "$root" "$home/tsmq"
mount --rbind "$runtime" "$home/runtime"
mount --rbind "$prefix" "$home/python"
mount --rbind "$packages" "$home/packages"
export HOME="$home" DENO_DIR="$home/deno" PYTHONPATH="$home/packages"
cd "$home/tsmq/tests/pymq"
set -- prlimit --msgqueue=${LIMIT} "$@"
`;

/** Checks that the plain user can run PyMQ. */
const PROBE = '"$@" "$home/python/$python" -c "import pymq.provider.ipc"';

/** Runs the server, and its caller with an empty directory in place of `/dev/mqueue`. Fails if they leave a queue or a file. */
const CALL = `mkfifo "$home/commands"
"$@" "$home/python/$python" -u peer.py ipc plain python < "$home/commands" &
exec 3> "$home/commands"
echo '{ "do": "expose", "fn": "add" }' >&3
echo '{ "do": "expose", "fn": "lambda path: open(path).read()", "as": "read" }' >&3
unshare --mount sh -c 'mount -t tmpfs none /dev/mqueue && exec "$@"' sh \
  "$@" "$home/runtime/${basename(process.execPath)}" run ${
  here === "deno" ? "-A --no-check --no-lock" : ""
} plain_user.ts plain 3>&-
exec 3>&-
wait $!
left=$(find /dev/mqueue /dev/shm -mindepth 1 ! -type d)
echo "left: $left"
test -z "$left"
`;

/** Prints the paths of Python itself and of PyMQ. */
const PATHS = `
import os, pymq, sys
prefix = os.path.realpath(sys.base_prefix)
python = os.path.relpath(os.path.realpath(sys._base_executable), prefix)
print(prefix, python, os.path.dirname(os.path.dirname(pymq.__file__)), sep="\\n", end="")
`;

type Way = typeof WAYS[number];

const home = makeDir("home");
let paths: readonly string[] = [];

/** Returns the command that runs the script after the preparation. */
function command({ enter, leave }: Way, script: string): [program: string, args: string[]] {
  // not the path of the runtime: Deno adds arguments behind its own
  const places = [home, new URL("../../", import.meta.url).pathname, dirname(process.execPath), ...paths];
  const [program = "", ...args] = [...enter, "sh", "-c", PREPARE + script, "sh", ...places, ...leave];
  return [program, args];
}

/** Returns the first way that this machine allows, or the reasons why it allows none. */
function find(): Way | string {
  paths = execFileSync(tool("python"), ["-c", PATHS], { encoding: "utf8" }).split("\n");
  const reasons = [];
  for (const way of WAYS) {
    const { status, stderr, error } = spawnSync(...command(way, PROBE), { encoding: "utf8" });
    if (status === 0) return way;
    reasons.push(error ? String(error) : stderr.trim());
  }
  return `neither root nor a user namespace: ${reasons.join("; ")}`;
}

const lacking = missing("python");
const way = lacking === undefined ? find() : WAYS[0]!;

describe("PyMQ's server and a tsmq caller of one plain user with the default limits", () => {
  const name = "200 calls at once are all answered";
  if (typeof way === "string") return skip(name, way);
  itNeeds(lacking)(name, async () => {
    const child = new Child(...command(way, CALL));
    const { code } = await child.wait(150_000);
    const [said] = /^\{.*\}$/m.exec(child.output) ?? [];
    assert(code === 0 && said !== undefined, child.output);
    const plain = { effectiveUser: String(USER), capabilities: "0".repeat(16), limits: `${LIMIT} ${LIMIT}` };
    assertEquals(JSON.parse(said), { failed: [], caller: plain, server: plain, mqueue: [] }, child.output);
  });
});
