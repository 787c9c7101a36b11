/**
 * The signed events that a subscription has received. An attacker can send a signed event again, and a transport can deliver it twice.
 *
 * @module
 */
import { TextMap } from "../internal/text_map.ts";
import { ownText } from "../internal/utf8.ts";

/** The smallest number of latest events that are remembered. */
const EVENTS = 16_384;

/** The nonces of the latest events. */
export class SeenEvents {
  #new = new TextMap<true>();
  #old = new TextMap<true>();

  /** Adds an event. Returns false if it was there. */
  add(nonce: string): boolean {
    if (this.#new.has(nonce) || this.#old.has(nonce)) return false;
    this.#new.set(ownText(nonce), true); // it is a part of the event's text
    if (this.#new.size >= EVENTS) {
      this.#old = this.#new;
      this.#new = new TextMap();
    }
    return true;
  }
}
