/**
 * A full-screen view in a terminal that is redrawn, and its keys.
 *
 * @module
 */
import process from "node:process";
import { shorten, widthOf } from "./table.ts";

/** Switches to a second screen and hides the cursor. `LEAVE` undoes it. */
const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
/** The code that a terminal in raw mode sends for Ctrl-C. */
const CTRL_C = "\x03";

/** The input and the output of a terminal. */
export type Terminal = Pick<typeof process, "stdin" | "stdout">;

/** A screen. Dispose of it to restore the terminal. */
export class Screen implements Disposable {
  #stdin: Terminal["stdin"];
  #stdout: Terminal["stdout"];
  #onKey: (key: string) => void;
  #lines: readonly string[] = [];
  #resized = () => this.draw(this.#lines);
  #pressed = (chunk: string) => {
    for (const key of chunk.startsWith("\x1b") ? [chunk] : chunk) {
      if (key === CTRL_C) process.kill(process.pid, "SIGINT");
      else this.#onKey(key);
    }
  };

  /** Switches the terminal to raw mode. `onKey` is called with each key, except Ctrl-C, which raises SIGINT. */
  constructor(onKey: (key: string) => void, { stdin, stdout }: Terminal = process) {
    this.#onKey = onKey;
    this.#stdin = stdin;
    this.#stdout = stdout;
    this.#stdout.write(ENTER);
    this.#stdout.on("resize", this.#resized);
    if (!this.#stdin.isTTY) return;
    this.#stdin.setRawMode(true);
    this.#stdin.setEncoding("utf8").on("data", this.#pressed);
  }

  /** The number of characters of a line. */
  get width(): number {
    return this.#stdout.columns || 80;
  }

  /** The number of lines. */
  get height(): number {
    return this.#stdout.rows || 24;
  }

  /** Draws these lines over the last ones, in one write and without clearing the screen first, so that nothing flickers. */
  draw(lines: readonly string[]): void {
    this.#lines = lines;
    const shown = lines.slice(0, this.height).map((line) => {
      const text = shorten(line, this.width);
      // after a full line, the cursor is on its last character, which would be erased
      return widthOf(text) < this.width ? `${text}\x1b[K` : text;
    });
    this.#stdout.write(`\x1b[H${shown.join("\r\n")}\x1b[J`);
  }

  [Symbol.dispose](): void {
    this.#stdout.off("resize", this.#resized);
    this.#stdout.write(LEAVE);
    if (!this.#stdin.isTTY) return;
    this.#stdin.off("data", this.#pressed).pause();
    this.#stdin.setRawMode(false);
  }
}
