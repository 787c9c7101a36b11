import { host } from "../../src/port/host.ts";
import type { Hello, ToMain, ToWorker } from "../../src/port/protocol.ts";
import type { AskHandler, OpenReceiver, Provider, Sender } from "../../src/provider/provider.ts";

/**
 * Replaces the runtime's `Worker`, and runs the receiver in this thread, so that a test has both ends of the port.
 * Each end has a real `MessagePort`; the thread passes the frames on, so that a test can read them and hold them back.
 */
export class Thread {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: ((event: { message: string; error?: unknown; preventDefault(): void }) => void) | null = null;
  readonly toWorker: ToWorker[][] = [];
  readonly toMain: ToMain[][] = [];
  terminated = false;
  /** While true, no frame reaches main, not even a heartbeat. */
  mute = false;
  #open: OpenReceiver;
  #ports: { main: MessagePort; host: MessagePort }[] = [];

  constructor(open: OpenReceiver, listens: boolean) {
    this.#open = open;
    if (listens) queueMicrotask(() => this.onmessage?.({ data: { kind: "tsmq:listening" } }));
  }

  postMessage(hello: Hello): void {
    const main = hello.port;
    const { port1, port2 } = new MessageChannel();
    this.#ports.push({ main, host: port1 });
    main.onmessage = (event) => {
      this.toWorker.push(event.data);
      port1.postMessage(event.data);
    };
    port1.onmessage = (event) => {
      if (this.mute) return;
      this.toMain.push(event.data);
      main.postMessage(event.data);
    };
    void host({ ...hello, port: port2 }, this.#open);
  }

  addEventListener(): void {}

  /** Posts a frame to main that a host never posts. */
  say(frames: unknown[]): void {
    for (const { main } of this.#ports) main.postMessage(frames);
  }

  /** Posts a frame to the host that main never posts. */
  tell(frames: unknown[]): void {
    for (const { host } of this.#ports) host.postMessage(frames);
  }

  /** Reports an uncaught error, as the runtimes do. */
  fail(message: string): void {
    this.onerror?.({ message, preventDefault: () => {} });
  }

  /** Asks the host to close, because a thread cannot be terminated from inside. */
  terminate(): void {
    this.terminated = true;
    for (const { main, host } of this.#ports) {
      main.close();
      host.onmessage = (event) => {
        if ((event.data as ToMain[]).some((frame) => frame.kind === "done" && frame.id === -1)) host.close();
      };
      host.postMessage([{ kind: "close", id: -1 }] satisfies ToWorker[]);
    }
  }
}

/** While it lasts, workers are threads like this one. */
export class OneThread implements Disposable {
  readonly threads: Thread[] = [];
  readonly provider: Provider;
  /** Whether the next threads report that they listen. */
  listens = true;
  #worker: typeof Worker = globalThis.Worker;

  constructor(open: OpenReceiver, answer?: AskHandler["answer"]) {
    const threads = this.threads;
    const listens = () => this.listens;
    globalThis.Worker = function () {
      const thread = new Thread(open, listens());
      threads.push(thread);
      return thread;
    } as unknown as typeof Worker;
    this.provider = {
      name: "test",
      features: {
        counts: false,
        ordered: true,
        durable: false,
        shared: false,
        capacity: Infinity,
        maxBody: Infinity,
        exactSize: true,
        exactAttempts: true,
        maxDelay: Infinity,
        maxPutDelay: 0,
        peek: false,
        groups: false,
        latency: 100,
      },
      worker: new URL(`one-thread:${crypto.randomUUID()}`),
      options: {},
      open: () => Promise.reject<Sender>(new Error("only the link is under test")),
      ...answer && { askHandler: { answer } },
    };
  }

  /** The thread that was started last. */
  get last(): Thread {
    return this.threads.at(-1)!;
  }

  [Symbol.dispose](): void {
    globalThis.Worker = this.#worker;
    for (const thread of this.threads) if (!thread.terminated) thread.terminate();
  }
}
