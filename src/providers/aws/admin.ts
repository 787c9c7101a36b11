/**
 * Lists what a namespace contains in SNS and SQS, for the command line and the dashboard. Each list makes several requests, and one for
 * each queue or bus.
 *
 * @module
 */
import type { Admin, BusInfo, Check, FunctionInfo, GroupInfo, QueueInfo, TopicInfo } from "../../provider/admin.ts";
import { TextMap, textSet } from "../../internal/text_map.ts";
import { inParallel } from "../../internal/in_parallel.ts";
import { limitedAsync } from "../../provider/listing.ts";
import { parseGroupQueue } from "../../provider/queue_names.ts";
import { checkService } from "./checks.ts";
import { type AskCredentials, AwsClient } from "./client.ts";
import { busQueues, cleanUpAll, deadQueues, idleTopics, queuesWith, subscriptions } from "./cleanup.ts";
import { toBusError } from "./errors.ts";
import { Names, ownedByBus, topicOfRegistry } from "./names.ts";
import { nameOf } from "./arns.ts";
import { readOrigin } from "./origin_tag.ts";
import { countItems } from "./queues.ts";
import { leaseIn } from "./queue_tags.ts";
import { tagsOf } from "./registry.ts";
import type { Settings } from "./options.ts";

/** Milliseconds that a request may take, with all its attempts. */
const TIMEOUT = 10_000;
/** The number of requests about queues that run at the same time. */
const PARALLEL = 16;
/** The number of characters of the id of a bus. They do not reveal its inbox. */
const ID_LENGTH = 8;

/** Lists what a namespace contains. */
export class AwsAdmin implements Admin {
  #client: AwsClient;
  #names: Names;
  #namespace: string;

  /** Prepares the admin of a namespace. It makes no request. */
  constructor(settings: Settings, ask: AskCredentials, namespace: string) {
    this.#client = new AwsClient(settings, ask, TIMEOUT);
    this.#names = new Names(namespace);
    this.#namespace = namespace;
  }

  checks(): AsyncIterable<Check> {
    return checkService(this.#client, this.#names, () => this.leftovers());
  }

  /** Lists queues, also those without items. The namespace `global` has no prefix: its list contains all queues of the account. */
  queues(): Promise<QueueInfo[]> {
    return this.#try("list queues", async () => {
      const queues = await limitedAsync(this.#titled("queues"), this.#queues());
      return await inParallel(queues, PARALLEL, async ([url, name]) => {
        return { name, ...await countItems(this.#client, url, name) };
      });
    });
  }

  /** Lists topics. A bus with a pattern subscribes to the topic of all events, which is listed as `*`. */
  topics(): Promise<TopicInfo[]> {
    return this.#try("list topics", async () => {
      const found = await this.#subscribed();
      return [...found].flatMap(([topic, queues]): TopicInfo[] => {
        const subscribers = [...queues.keys()].filter(ownedByBus).length;
        if (subscribers === 0 || topicOfRegistry(topic) !== undefined) return [];
        if (topic === this.#names.all) return [{ name: "*", pattern: true, subscribers }];
        const name = this.#names.topicOf(topic);
        return name === undefined ? [] : [{ name, pattern: false, subscribers }];
      });
    });
  }

  functions(): Promise<FunctionInfo[]> {
    return this.#try("list functions", async () => {
      const [subscribed, buses] = await Promise.all([this.#subscribed(), this.#buses()]);
      const up = textSet(buses.map(({ id }) => id));
      return [...subscribed].flatMap(([topic, queues]) => {
        const served = topicOfRegistry(topic);
        const name = served === undefined ? undefined : this.#names.topicOf(served);
        const servers = [...queues.keys()].filter(ownedByBus).map(busId).filter((id) => up.has(id));
        return name === undefined || servers.length === 0 ? [] : [{ name, servers }];
      });
    });
  }

  groups(): Promise<GroupInfo[]> {
    return this.#try("list groups", async () => {
      const found = [...await this.#subscribed()].flatMap(([topic, queues]) =>
        [...queues.keys()].map((queue) => ({ topic, queue: this.#names.queueOf(queue) ?? "" }))
      );
      return found.flatMap(({ topic, queue }) => {
        const { target, group } = parseGroupQueue(queue) ?? { target: "", group: "" };
        const pattern = topic === this.#names.all;
        if (target === "" || group === "" || !(pattern || topic === this.#names.topic(target))) return [];
        return [{ target, pattern, group, queue }];
      });
    });
  }

  buses(): Promise<BusInfo[]> {
    return this.#try("list buses", () => this.#buses());
  }

  inboxes(): Promise<string[]> {
    return this.#try("list buses", async () => (await this.#live()).map(({ inbox }) => inbox));
  }

  leftovers(): Promise<string[]> {
    return this.#try("list the remains of dead buses", async () => {
      const queues = await limitedAsync(this.#titled("queues of buses"), busQueues(this.#client, this.#names));
      const dead = await Array.fromAsync(deadQueues(this.#client, queues));
      const idle = await limitedAsync(this.#titled("unused topics"), this.#idleTopics());
      return [...dead.map((url) => `queue ${nameOf(url)}`), ...textSet(idle.map((name) => `topic ${name}`)).keys()];
    });
  }

  async *reap(): AsyncGenerator<string> {
    const { queues, topics } = await this.#try("reap", () => cleanUpAll(this.#client, this.#names));
    for (const name of queues) yield `queue ${name}`;
    for (const name of topics) yield `topic ${name}`;
  }

  close(): Promise<void> {
    this.#client.close();
    return Promise.resolve();
  }

  async #buses(): Promise<BusInfo[]> {
    return (await this.#live()).map(({ inbox, tags }) => ({ id: busId(inbox), ...readOrigin(tags) }));
  }

  /** Returns the queues of the buses that are up, which are their inboxes, with their tags. */
  async #live() {
    const urls = await limitedAsync(this.#titled("buses"), busQueues(this.#client, this.#names));
    const found = await inParallel(
      urls,
      PARALLEL,
      async (url) => ({ inbox: nameOf(url), tags: await tagsOf(this.#client, url) }),
    );
    return found.filter(({ tags }) => leaseIn(tags) > Date.now());
  }

  /** Yields the queues of the namespace that do not belong to a bus. */
  async *#queues(): AsyncGenerator<readonly [url: string, name: string]> {
    for await (const url of queuesWith(this.#client, this.#names.prefix)) {
      const name = this.#names.queueOf(nameOf(url));
      if (name !== undefined) yield [url, name];
    }
  }

  /** Yields the names of the unused SNS topics of the namespace, each once for each of its subscriptions. */
  async *#idleTopics(): AsyncGenerator<string> {
    for await (const { topicArn } of idleTopics(this.#client, this.#names)) yield nameOf(topicArn);
  }

  /** Returns the SNS topics of the namespace that have subscriptions, each with the names of the subscribed queues. */
  async #subscribed(): Promise<TextMap<TextMap<true>>> {
    const found = new TextMap<TextMap<true>>();
    for (const [topic, queue] of await limitedAsync(this.#titled("subscriptions"), this.#subscriptions())) {
      found.set(topic, (found.get(topic) ?? textSet([])).set(queue, true));
    }
    return found;
  }

  /** Yields the topic and the queue of each subscription of the namespace. */
  async *#subscriptions(): AsyncGenerator<readonly [topic: string, queue: string]> {
    for await (const { topicArn, endpoint } of subscriptions(this.#client)) {
      const topic = nameOf(topicArn);
      if (this.#names.ownsTopic(topic)) yield [topic, nameOf(endpoint)];
    }
  }

  /** Returns what a warning calls these things of the namespace. */
  #titled(things: string): string {
    return `${things} in the namespace ${this.#namespace}`;
  }

  async #try<T>(doing: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw toBusError(doing, error);
    }
  }
}

/** Returns the id of the bus that has this queue. */
function busId(queue: string): string {
  return queue.slice(queue.lastIndexOf("-") + 1).slice(0, ID_LENGTH);
}
