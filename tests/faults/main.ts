/**
 * The fault scenarios alone, under both runtimes, with one table of all:
 *
 *     deno task test:faults                  the short run, as in CI
 *     deno task test:faults --long           ten times as many faults
 *     deno task test:faults --scale=60 --only="closed in turn" redis   a factor for the number of faults, and a filter for their names
 *     deno task test:faults --seed=7 redis   the choices of an earlier run again, of one provider
 *     deno task test:faults --soak=30        minutes of steady traffic on Redis, a fault every few seconds
 *     deno task test:faults --failover=10    what a failover behind Sentinels costs, ten times of each kind
 */
import { type Row, table } from "./report.ts";

const value = (name: string) => Deno.args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
const minutes = value("soak");
const run = async (args: string[], env: Record<string, string>) => {
  const { code } = await new Deno.Command(Deno.execPath(), { args: ["run", "-A", "--no-lock", ...args], env }).spawn()
    .status;
  return code;
};

const seed = value("seed");
const env: Record<string, string> = seed ? { TSMQ_TEST_SEED: seed } : {};
const times = value("failover");
const script = minutes !== undefined
  ? ["tests/faults/soak.ts", minutes]
  : times !== undefined
  ? ["tests/faults/failover.ts", times]
  : undefined;
if (script) {
  if (!Deno.args.includes("--bun")) Deno.exit(await run(["--v8-flags=--expose-gc", ...script], env));
  const bun = new URL("../../.cache/bin/bun", import.meta.url).pathname;
  Deno.exit((await new Deno.Command(bun, { args: ["run", ...script], env }).spawn().status).code);
}

const file = await Deno.makeTempFile({ prefix: "tsmq-faults-" });
env.TSMQ_FAULTS_ROWS = file;
const only = value("only");
if (only) env.TSMQ_FAULTS_ONLY = only;
const scale = value("scale");
if (scale) env.TSMQ_FAULTS_SCALE = scale;
const long = Deno.args.includes("--long");
if (long) env.TSMQ_FAULTS_SCALE = "10";
const flags = Deno.args.filter((arg) => ["--deno", "--bun"].includes(arg) || arg.startsWith("--jobs="));
const providers = Deno.args.filter((arg) => !arg.startsWith("--"));
const code = await run([
  "scripts/test.ts",
  ...(long ? ["--deadline=3600"] : []),
  ...flags,
  ...(providers.length > 0 ? providers : [""]).map((name) => `faults/${name}`),
], env);
const rows = (await Deno.readTextFile(file)).trim().split("\n").filter(Boolean).map((line) => JSON.parse(line) as Row);
await Deno.remove(file);
console.log(`\n${table(rows)}`);
Deno.exit(code);
