/** A user's worker that opens a bus, or starts another such worker. */
import { live, type Place } from "../../bus/inside.ts";

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<Place>) => void;
  postMessage(message: unknown): void;
};

scope.onmessage = async ({ data: place }) => {
  if (place.depth === 0) {
    const result = await live(place).then((seen) => ({ seen }), (error) => ({ error: `${error?.stack ?? error}` }));
    return scope.postMessage(result);
  }
  const worker = new Worker(import.meta.url, { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data === "listening") return worker.postMessage({ ...place, depth: place.depth - 1 });
    worker.terminate();
    scope.postMessage(data);
  };
};
scope.postMessage("listening");
