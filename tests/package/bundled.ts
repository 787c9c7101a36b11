/** A program for bundles. Its argument "worker" passes the option that a bundle needs. */
import process from "node:process";
import { Bus, memory } from "../../mod.ts";

const worker = process.argv.includes("worker") ? new URL("./bundled_worker.js", import.meta.url) : undefined;
try {
  await using bus = await Bus.open(memory({ worker }));
  await bus.expose("add", (a: number, b: number) => a + b);
  console.log(await bus.stub("add")(1, 2));
} catch (error) {
  console.log(JSON.stringify(error));
}
