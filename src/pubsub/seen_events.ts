/**
 * The signed events that a subscription has received. An attacker can send a signed event again, and a transport can deliver it twice.
 *
 * @module
 */

/** The smallest number of latest events that are remembered. */
const EVENTS = 16_384;

/** The nonces of the latest events. */
export class SeenEvents {
  #new = new Set<string>();
  #old = new Set<string>();

  /** Adds an event. Returns false if it was there. */
  add(nonce: string): boolean {
    if (this.#new.has(nonce) || this.#old.has(nonce)) return false;
    this.#new.add(nonce);
    if (this.#new.size >= EVENTS) {
      this.#old = this.#new;
      this.#new = new Set();
    }
    return true;
  }
}
