// @ts-check
/** Home: the pages of artifacts that were open last in this browser, as they were left. */

import { visited } from "./app.js";

const list = document.getElementById("resume-list");
const places = visited();
if (list && places.length) {
  for (const { href, title } of places) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = href;
    link.textContent = title;
    link.className = "button";
    item.append(link);
    list.append(item);
  }
  const section = document.getElementById("resume");
  if (section) section.hidden = false;
}
