/** Uses queues as a plain user with the default limits, and prints the results. Argument: the operation. */
import process from "node:process";
import { Bus } from "../../src/bus.ts";
import { conformance } from "../../src/conformance/mod.ts";
import { ipc } from "../../src/providers/ipc/provider.ts";
import { loadPosix } from "../../src/providers/ipc/posix.ts";
import { ALL, shareOfOther } from "../support/share.ts";
import { keepWorkers, KEPT } from "./kept_workers.ts";

const doing: Record<string, (namespace: string) => Promise<unknown>> = {
  async buses(namespace) {
    const buses: Bus[] = [];
    for (let i = 0; i < 60; i++) buses.push(await Bus.open(ipc(), { namespace, connectTimeout: 60_000 }));
    let received = 0;
    await Promise.all(buses.map((bus) => bus.subscribe("all", () => void received++).ready));
    const reached = await buses[0]!.publish("hello", "all");
    while (received < 60) await new Promise((resolve) => setTimeout(resolve, 5));
    await Promise.all(buses.map((bus) => bus.close()));
    return { reached, received };
  },
  async reserve(namespace) {
    const buses = [await Bus.open(ipc(), { namespace })];
    const queues = Array.from({ length: 12 }, (_, i) => buses[0]!.queue(`queue-${i}`));
    for (const queue of queues) await queue.put("item");
    while (buses.length < 6) buses.push(await Bus.open(ipc(), { namespace, connectTimeout: 2_000 }));
    for (const queue of queues) await queue.free();
    for (const bus of buses) await bus.close();
    return { opened: buses.length };
  },
  async queues(namespace) {
    const bus = await Bus.open(ipc(), { namespace });
    const posix = await loadPosix();
    let got = 0;
    // more than the 1,024 descriptors of a process and the 256 queues of the system
    for (let i = 0; i < 1_500; i++) {
      const queue = bus.queue<number>(`queue-${i}`);
      await queue.put(i);
      if (await queue.get() === i) got++;
      await queue.free();
    }
    const descriptors = (posix.list("/proc/self/fd") as string[])
      .filter((name) => String(posix.readLink(`/proc/self/fd/${name}`)).startsWith("/pymq_")).length;
    await bus.close();
    return { got, few: descriptors < 80 };
  },
  async kit() {
    // `tests/conformance/ipc_test.ts` runs the other half
    const half = (worker?: URL) => shareOfOther(conformance({ provider: () => ipc({ messageSize: 1_024, worker }) }));
    const [own, kept] = [half(), half(KEPT)];
    // a worker ends with its bus where a case is about that
    const all = own.map((one, n) => ALL || /^(life|closing): /.test(one.name) ? one : kept[n]!);
    const endWorkers = keepWorkers();
    const cases = all.filter(({ skip }) => !skip);
    const failed: string[] = [];
    const count = cases.length;
    const lane = async () => {
      for (let one; (one = cases.shift());) await one.run().catch((error) => failed.push(`${one!.name}: ${error}`));
    };
    await Promise.all([lane(), lane(), lane(), lane()]);
    endWorkers();
    return { passed: count - failed.length > 50, failed };
  },
};

const [what, namespace] = process.argv.slice(2) as [string, string];
console.log(JSON.stringify(await doing[what]!(namespace)));
