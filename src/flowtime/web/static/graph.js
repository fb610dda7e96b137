// @ts-check
/** A graph as the server laid it out: boxes to pick by mouse or keyboard, coloured by values. */

import { Absent, complain } from "./app.js";
import { counted, element, TELLING } from "./views.js";

/** @typedef {{id: string, kind: string, title: string, notes: string[], x: number, y: number, width: number, height: number,
 *   series: Record<string, number>, formula?: string, formulas?: Record<string, string>, semantics?: Record<string, string>}} Box */
/** @typedef {{from: string, to: string, points: [number, number][], back: boolean}} Line */
/** @typedef {{noun: string, total: number, width: number, height: number, down: boolean, nodes: Box[], edges: Line[]}} Picture */

const SVG = "http://www.w3.org/2000/svg";
/** Below this size on the screen, text is no longer legible and is left out. */
const LEGIBLE = 0.42;
const CLOSEST = 2;
const LARGEST = 1.3;
/** How high a graph stands on the page, in pixels: what it takes, between these. */
const [LEAST, MOST] = [170, 640];
const MARGIN = 12;
/** Which way each arrow key looks, as steps to the right and down. */
const WAYS = /** @type {Record<string, [number, number]>} */ ({
  ArrowRight: [1, 0],
  ArrowLeft: [-1, 0],
  ArrowDown: [0, 1],
  ArrowUp: [0, -1],
});

/**
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} children
 */
function shape(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** @param {[number, number][]} points */
function path(points) {
  let text = `M${points[0]}`;
  for (let i = 1; i + 2 < points.length; i += 3) text += `C${points[i]} ${points[i + 1]} ${points[i + 2]}`;
  return text;
}

/** The triangle at the end of an edge, which follows its last stretch. @param {[number, number][]} points */
function head(points) {
  const [x, y] = points[points.length - 1];
  const [beforeX, beforeY] = points[points.length - 2];
  const length = Math.hypot(x - beforeX, y - beforeY) || 1;
  const [dx, dy] = [(8 * (x - beforeX)) / length, (8 * (y - beforeY)) / length];
  return `M${x} ${y}L${x - dx - dy / 2} ${y - dy + dx / 2}L${x - dx + dy / 2} ${y - dy - dx / 2}Z`;
}

/** The bars of a queue at both of its sides. @param {{x: number, y: number, width: number, height: number}} frame */
const bars = ({ x, y, width, height }) => shape("path", { class: "bars", d: `M${x + 6} ${y}v${height}M${x + width - 6} ${y}v${height}` });

/** @param {string} kind How round the corners of a box are, so that colour is never the only sign. */
const roundness = (kind) =>
  ({ source: 19, sink: 19, service: 9, expr: 9, const: 0, pmf: 14, queue: 0, store: 5 })[kind] ?? 3;

export class Graph {
  /** @type {boolean | undefined} Whether text is too small to be read. */
  small;

  /**
   * @param {HTMLElement} host What it is drawn into; it fills it.
   * @param {(box: Box, add: boolean) => void} pick Told when a box is picked; `add`: besides what was.
   */
  constructor(host, pick) {
    this.host = host;
    this.pick = pick;
    /** @type {Picture | null} */
    this.picture = null;
    /** @type {{box: Box, group: SVGGElement, text: SVGTextElement, heat: number, said: string}[]} */
    this.boxes = [];
    this.current = 0;
    this.zoom = 1;
    this.centre = [0, 0];
    this.size = new ResizeObserver(() => this.look());
    this.size.observe(host);
    host.addEventListener("keydown", (event) => this.key(event));
    host.addEventListener("click", (event) => this.clicked(event));
    host.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    host.addEventListener("pointerdown", (event) => this.drag(event));
  }

  /**
   * Draws a picture, whole in its frame.
   * @param {Picture} picture
   * @param {string} title
   */
  draw(picture, title) {
    this.picture = picture;
    this.small = undefined;
    const room = Math.min(LARGEST, this.host.clientWidth / picture.width) * picture.height + 2 * MARGIN;
    this.host.style.height = `${Math.round(Math.max(LEAST, Math.min(room, MOST, 0.7 * innerHeight)))}px`;
    const joints = picture.edges.map((edge) =>
      shape(
        "g",
        { class: edge.back ? "edge back" : "edge" },
        shape("path", { d: path(edge.points) }),
        shape("path", { class: "head", d: head(edge.points) }),
      ),
    );
    this.boxes = picture.nodes.map((box, place) => {
      const text = shape("text", { class: "amount", x: box.x, y: box.y + 13 });
      const frame = {
        x: box.x - box.width / 2,
        y: box.y - box.height / 2,
        width: box.width,
        height: box.height,
        rx: roundness(box.kind),
      };
      const label = box.title.length > 24 ? `${box.title.slice(0, 23).trimEnd()}…` : box.title;
      const group = shape(
        "g",
        { class: `box ${box.kind}`, role: "button", tabindex: place ? -1 : 0, "data-place": place, "aria-pressed": "false" },
        shape("rect", frame),
        ...(box.kind === "queue" ? [bars(frame)] : []),
        shape("text", { class: "name", x: box.x, y: box.y + 5 }, label),
        text,
      );
      return { box, group, text, heat: -1, said: "" };
    });
    const about = `${title}: ${counted(picture.nodes.length, picture.noun)}, ${counted(picture.edges.length, "edge")}. Arrow keys follow the edges, Enter picks.`;
    this.svg = shape("svg", { role: "group", "aria-label": about }, ...joints, ...this.boxes.map((one) => one.group));
    this.current = 0;
    this.host.replaceChildren(this.svg);
    this.fit();
  }

  /** Shows the whole picture. */
  fit() {
    if (!this.picture) return;
    this.zoom = 1;
    this.centre = [this.picture.width / 2, this.picture.height / 2];
    this.look();
  }

  /** @param {number} factor */
  closer(factor) {
    this.zoom = Math.max(1, Math.min(this.zoom * factor, Math.max(1, CLOSEST / this.whole())));
    this.look();
  }

  /** Does what a button of the zoom says: `in`, `out` or `all`. @param {string} way */
  zoomed(way) {
    if (way === "all") this.fit();
    else this.closer(way === "in" ? 1.5 : 1 / 1.5);
  }

  /** Says in place of the picture why there is none. @param {unknown} error */
  fail(error) {
    this.host.replaceChildren(element("p", { class: "quiet waiting" }, error instanceof Error ? error.message : String(error)));
    if (error instanceof Absent) complain(error);
  }

  /** How large the picture is on the screen where all of it is shown. */
  whole() {
    const { clientWidth, clientHeight } = this.host;
    if (!this.picture || !clientWidth) return 1;
    return Math.min(LARGEST, clientWidth / this.picture.width, clientHeight / this.picture.height);
  }

  /** Shows the part of the picture that zoom and centre say. */
  look() {
    if (!this.picture || !this.svg) return;
    const scale = this.whole() * this.zoom;
    const [width, height] = [this.host.clientWidth / scale, this.host.clientHeight / scale];
    for (const [axis, all, shown] of /** @type {const} */ ([[0, this.picture.width, width], [1, this.picture.height, height]]))
      this.centre[axis] = shown >= all ? all / 2 : Math.min(Math.max(this.centre[axis], shown / 2), all - shown / 2);
    const [x, y] = this.centre;
    this.svg.setAttribute("viewBox", `${x - width / 2} ${y - height / 2} ${width} ${height}`);
    const small = scale < LEGIBLE;
    this.svg.classList.toggle("small", small);
    this.host.classList.toggle("movable", this.zoom > 1);
    if (this.small === small) return;
    this.small = small;
    // Text that is not shown names nothing, and need not be written.
    for (const one of this.boxes) {
      one.text.textContent = small ? "" : one.said;
      if (small) one.group.setAttribute("aria-label", one.box.title);
      else one.group.removeAttribute("aria-label");
    }
  }

  /**
   * Colours boxes and writes their values.
   * @param {(box: Box, place: number) => [number, string]} say The step of the scale, below 0 for none, and the value as text.
   * @param {string} among The scale: `heat`, or `gap` for one around nothing.
   */
  colour(say, among = "heat") {
    this.boxes.forEach((one, place) => {
      const [heat, said] = say(one.box, place);
      if (heat !== one.heat) {
        one.heat = heat;
        if (heat < 0) one.group.removeAttribute(`data-${among}`);
        else one.group.setAttribute(`data-${among}`, String(heat));
      }
      if (said !== one.said) {
        if (!said !== !one.said) one.group.classList.toggle("rated", said !== "");
        one.said = said;
        if (!this.small) one.text.textContent = said;
      }
    });
    this.svg?.classList.toggle("valued", this.boxes.some((one) => one.said));
    this.name();
  }

  /** Keeps the name of the box that the keyboard is at up to date where its text is not shown. */
  name() {
    const one = this.boxes[this.current];
    if (one && this.small) one.group.setAttribute("aria-label", [one.box.title, one.said].filter(Boolean).join(" "));
  }

  /** Marks the boxes that are picked. @param {(box: Box) => boolean} is */
  mark(is) {
    for (const one of this.boxes) one.group.setAttribute("aria-pressed", String(is(one.box)));
  }

  /**
   * Marks the boxes whose names hold a text; how many there are.
   * @param {string} text
   */
  find(text) {
    const wanted = text.trim().toLowerCase();
    let found = 0;
    this.svg?.classList.toggle("finding", wanted !== "");
    this.boxes.forEach((one, place) => {
      const hit = wanted !== "" && `${one.box.title} ${one.box.id}`.toLowerCase().includes(wanted);
      one.group.classList.toggle("hit", hit);
      if (hit && !found++) this.rove(place, false);
    });
    return found;
  }

  /**
   * Makes a box the one that the keyboard is at.
   * @param {number} place
   * @param {boolean} focus
   */
  rove(place, focus) {
    this.boxes[this.current]?.group.setAttribute("tabindex", "-1");
    this.current = place;
    const { group, box } = this.boxes[place];
    group.setAttribute("tabindex", "0");
    this.name();
    if (this.zoom > 1) {
      this.centre = [box.x, box.y];
      this.look();
    }
    if (focus) group.focus({ preventScroll: false });
  }

  /** @param {string} id */
  show(id) {
    const place = this.boxes.findIndex((one) => one.box.id === id);
    if (place >= 0) this.rove(place, false);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (!this.boxes.length || event.altKey || event.ctrlKey || event.metaKey) return;
    const { box } = this.boxes[this.current];
    if (event.key === "Enter" || event.key === " ") this.pick(box, event.shiftKey);
    else if (event.key === "Home") this.rove(0, true);
    else if (event.key === "End") this.rove(this.boxes.length - 1, true);
    else if (event.key === "+" || event.key === "=") this.closer(1.5);
    else if (event.key === "-") this.closer(1 / 1.5);
    else if (event.key === "0") this.fit();
    else if (event.key in WAYS) this.go(WAYS[event.key]);
    else return;
    event.preventDefault();
  }

  /**
   * Moves along the edge that leads most this way; where none does, to the nearest box there.
   * @param {[number, number]} way
   */
  go(way) {
    const { box: here } = this.boxes[this.current];
    const joined = new Set(
      this.picture?.edges.flatMap((edge) => (edge.from === here.id ? [edge.to] : edge.to === here.id ? [edge.from] : [])),
    );
    let [best, least] = [-1, Infinity];
    this.boxes.forEach(({ box }, place) => {
      const [dx, dy] = [box.x - here.x, box.y - here.y];
      const ahead = dx * way[0] + dy * way[1];
      const aside = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
      if (ahead <= 1) return;
      // An edge is followed wherever it lies ahead; a box that none leads to must be ahead rather than aside.
      const cost = ahead + 3 * aside + (joined.has(box.id) ? 0 : 1e6);
      if (cost < least && (joined.has(box.id) || ahead >= aside)) [best, least] = [place, cost];
    });
    if (best >= 0) this.rove(best, true);
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const group = /** @type {Element} */ (event.target).closest("[data-place]");
    if (!group || this.dragged) return;
    const place = Number(group.getAttribute("data-place"));
    this.rove(place, true);
    this.pick(this.boxes[place].box, event.shiftKey || event.ctrlKey || event.metaKey);
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    this.closer(event.deltaY < 0 ? 1.2 : 1 / 1.2);
  }

  /** @param {PointerEvent} event */
  drag(event) {
    this.dragged = false;
    if (event.button || this.zoom <= 1) return;
    const from = [...this.centre];
    const scale = this.whole() * this.zoom;
    const move = (/** @type {PointerEvent} */ now) => {
      const [dx, dy] = [now.clientX - event.clientX, now.clientY - event.clientY];
      if (Math.hypot(dx, dy) > 4) this.dragged = true;
      this.centre = [from[0] - dx / scale, from[1] - dy / scale];
      this.look();
    };
    const done = new AbortController();
    addEventListener("pointermove", move, { signal: done.signal });
    addEventListener("pointerup", () => done.abort(), { signal: done.signal });
  }

  /** Ends what it watches. */
  stop() {
    this.size.disconnect();
  }
}

/**
 * The measures that can colour boxes, those that most of them have first: as options to choose from, and the most telling one.
 * @param {Box[]} boxes
 * @param {(box: Box, measure: string) => boolean} [has] Which ones count.
 */
export function measuresOf(boxes, has = () => true) {
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const box of boxes)
    for (const measure of Object.keys(box.series)) if (has(box, measure)) found.set(measure, (found.get(measure) ?? 0) + 1);
  const names = [...found].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const best = TELLING.find((name) => (found.get(name) ?? 0) > 1) ?? names[0];
  return { best, options: names.map((name) => element("option", { value: name }, `${name} (${found.get(name)})`)) };
}

/** How many colours a scale has. */
export const HEATS = 16;

/** How long a scale is at least, as a share of what it shows: a change of 1 % is never the darkest. */
export const FLOOR = 0.1;

/**
 * The upper end of a scale that begins at the least value.
 * @param {number} low
 * @param {number} high
 */
export const top = (low, high) => Math.max(high, low + FLOOR * Math.max(Math.abs(low), Math.abs(high)));

/**
 * The step of a value on a scale.
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function heat(value, low, high) {
  if (Number.isNaN(value)) return -1;
  if (!(high > low)) return 0;
  return Math.min(HEATS - 1, Math.max(0, Math.floor(((value - low) / (high - low)) * HEATS)));
}

/**
 * A scale with its ends in words.
 * @param {string} low
 * @param {string} high
 * @param {string} [among] The scale, as for colours.
 */
export function legend(low, high, among = "heat") {
  const bars = element("span", { class: "ramp", "aria-hidden": "true" });
  for (let step = 0; step < HEATS; step++) bars.append(element("i", { [`data-${among}`]: step }));
  return [element("span", {}, low), bars, element("span", {}, high)];
}
