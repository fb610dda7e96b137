// @ts-check
/** The slider over the bins, with its keys, a button that plays them, and the time of the bin in words. */

import { count, time } from "./views.js";

export class Scrubber {
  /**
   * @param {HTMLElement} host The section of parts/scrubber.html.
   * @param {import("./views.js").Grid} grid
   * @param {(bin: number) => void} go Told of the bin to go to.
   * @param {() => [number, number]} window The bins that playing goes through: the first, and the one before which it stops.
   */
  constructor(host, grid, go, window) {
    this.grid = grid;
    this.go = go;
    this.window = window;
    this.bin = 0;
    this.slider = /** @type {HTMLInputElement} */ (host.querySelector("input"));
    this.button = /** @type {HTMLButtonElement} */ (host.querySelector("button"));
    this.output = /** @type {HTMLOutputElement} */ (host.querySelector("output"));
    this.slider.addEventListener("input", () => go(Number(this.slider.value)));
    this.slider.addEventListener("keydown", (event) => this.key(event));
    this.button.addEventListener("click", () => this.play());
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const [first, last] = [Number(this.slider.min), Number(this.slider.max)];
    const leap = Math.max(1, Math.round((last - first + 1) / 24));
    const by = { PageUp: leap, PageDown: -leap }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.go(Math.max(first, Math.min(last, this.bin + by)));
  }

  play() {
    const on = this.playing === undefined;
    this.button.setAttribute("aria-pressed", String(on));
    this.stop();
    if (!on) return;
    const [from, to] = this.window();
    if (this.bin >= to - 1) this.go(from);
    // A whole window takes about half a minute, and no bin less than a frame.
    const pause = Math.max(60, Math.min(500, 30_000 / (to - from)));
    this.playing = setInterval(() => {
      if (this.bin + 1 >= this.window()[1] || document.hidden) this.play();
      else this.go(this.bin + 1);
    }, pause);
  }

  /** Shows a bin. @param {number} bin */
  show(bin) {
    this.bin = bin;
    if (Number(this.slider.value) !== bin) this.slider.value = String(bin);
    const [strong, span] = this.output.children;
    const dated = this.grid.start !== undefined;
    const [when, of] = [time(this.grid, bin), `bin ${count(bin)} of ${count(this.grid.bins)}`];
    strong.textContent = dated ? when : of;
    span.textContent = dated ? of : "";
    this.slider.setAttribute("aria-valuetext", dated ? `${when}, ${of}` : of);
  }

  /** Ends playing. */
  stop() {
    clearInterval(this.playing);
    this.playing = undefined;
  }
}
