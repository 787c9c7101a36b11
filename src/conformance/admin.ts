/**
 * The admin of a transport: it lists what a namespace contains.
 *
 * @module
 */
import { type Bus, engineOf } from "../bus.ts";
import { ACTIVITY } from "../rpc/activity_answers.ts";
import { readActivity } from "../telemetry/activity.ts";
import { equal, ok } from "./assert.ts";
import type { Cases } from "./cases.ts";

/** Cases about the admin. */
export const admin: Cases = {
  "the admin lists the queues, topics, functions, groups and buses of a namespace, and no others": {
    skip: (_, harness) => harness.provider().admin ? undefined : "the transport has no admin",
    run: async (t) => {
      const [bus, other] = await t.buses(2) as [Bus, Bus];
      const admin = await t.provider.admin!.open(t.namespace);
      t.after(() => admin.close());
      const queue = t.queue<number>(bus, "jobs.1:a");
      for (const item of [1, 2, 3]) await queue.put(item);
      const lease = await queue.receive({ timeout: 30_000 });
      await Promise.all([bus, other].map(async (each) => {
        await each.subscribe("news", () => {}).ready;
        await each.expose("add", (a: number, b: number) => a + b);
      }));
      await bus.subscribe("new*", () => {}, { pattern: true }).ready;

      // a list is complete some time later, if at all
      const settles = async <T>(
        list: () => Promise<readonly T[] | undefined>,
        what: string,
        as: (all: T[]) => boolean,
      ) =>
        await t.until(async () => {
          const found = await list();
          return found === undefined || as([...found]);
        }, what);
      await settles(() => admin.queues(), "it lists the queue and its items", (queues) => {
        const [found, ...others] = queues;
        return found?.name === queue.name && others.length === 0 &&
          [undefined, 2].includes(found.waiting) && [undefined, 1].includes(found.leased) && !found.delayed;
      });
      await settles(() => admin.topics(), "it lists the topics", (topics) => {
        const subscribers = (name: string) =>
          topics.find((topic) => topic.name === name && !topic.pattern)?.subscribers;
        return topics.every(({ name }) => ["news", "add", "new*", "*"].includes(name)) &&
          topics.some(({ name }) => name === "news") && [undefined, 2].includes(subscribers("news"));
      });
      if (t.features.groups) {
        const member = bus.subscribe("news", () => {}, { group: "billing" });
        await member.ready;
        const group = { target: "news", pattern: false, group: "billing", queue: "news@billing" };
        t.frees(group.queue);
        await settles(() => admin.groups(), "it lists the group", (groups) => {
          equal(groups.filter(({ target }) => target !== "news"), []);
          return groups.length === 1;
        });
        equal(await admin.groups() ?? [group], [group]);
        await member.free();
        await settles(() => admin.groups(), "it no longer lists a group that was freed", ({ length }) => length === 0);
      }
      const buses = async () => (await admin.buses() ?? []).map(({ id }) => id).sort();
      // each bus answers at the inbox that the admin lists
      const { caller } = engineOf(bus);
      await settles(() => admin.inboxes(), "it lists both inboxes", ({ length }) => length === 2);
      const asked = (await admin.inboxes() ?? []).map((inbox) =>
        caller.at(inbox, ACTIVITY, [1_000], { timeout: 30_000 })
      );
      for (const answer of await Promise.all(asked)) {
        ok(readActivity(answer?.result) !== undefined, "it answers with its activity");
      }
      const servers = async () => {
        const functions = await admin.functions();
        equal(functions?.map(({ name }) => name), functions && ["add"]);
        return functions?.[0]?.servers.toSorted();
      };
      await settles(() => admin.buses(), "it lists both buses", ({ length }) => length === 2);
      const both = await admin.buses() ?? [];
      const [first] = both;
      ok(
        both.every(({ pid, since }) => pid === first?.pid && (since ?? 0) <= Date.now() + 1_000),
        "they are this process's",
      );
      if (await admin.functions()) equal(await servers(), await buses());
      await lease.ack();
      await other.close();
      await settles(() => admin.buses(), "it no longer lists a bus that was closed", ({ length }) => length === 1);
      if (await admin.functions()) equal(await servers(), await buses());
      await t.until(
        async () => !(await admin.leftovers()).some((line) => line.includes("jobs")),
        "nothing remains of it",
      );
    },
  },
};
