"use strict";
// Titles, which any browser shows after a while, become one tip that is there at once.
const tip = document.getElementById("tip");
for (const title of document.querySelectorAll("main svg title")) {
  title.parentNode.dataset.tip = title.textContent;
  title.parentNode.setAttribute("aria-label", title.textContent);
  title.remove();
}
for (const element of document.querySelectorAll("main [title]")) {
  element.dataset.tip = element.title;
  element.setAttribute("aria-label", element.title);
  element.removeAttribute("title");
}

function show(text, event) {
  tip.textContent = text;
  tip.hidden = !text;
  if (!text) return;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 16 + width > innerWidth ? event.clientX - width - 16 : event.clientX + 16;
  tip.style.left = `${Math.max(left, 4)}px`;
  tip.style.top = `${Math.max(Math.min(event.clientY + 16, innerHeight - height - 4), 4)}px`;
}

// The cursor of the timeline tells of the nearest evaluation.
function atCursor(svg, event) {
  const moments = JSON.parse(svg.closest("section").querySelector(".moments").textContent);
  const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  if (!moments.length) return "";
  const away = ([x]) => Math.abs(x - place.x);
  const [x, words] = moments.reduce((a, b) => (away(b) < away(a) ? b : a));
  const cursor = svg.querySelector(".cursor");
  cursor.setAttribute("x1", x);
  cursor.setAttribute("x2", x);
  cursor.style.opacity = 0.6;
  return words;
}

// A unit that is pointed at shows its own connections.
function focus(node) {
  const drawing = document.querySelector("svg.architecture");
  if (!drawing) return;
  drawing.classList.toggle("focus", Boolean(node));
  for (const edge of drawing.querySelectorAll(".edge")) {
    const own = node && (edge.dataset.a === node.dataset.node || edge.dataset.b === node.dataset.node);
    edge.classList.toggle("on", Boolean(own));
  }
}

document.addEventListener("pointermove", (event) => {
  const told = event.target.closest("[data-tip]");
  const timeline = event.target.closest("svg.timeline");
  for (const cursor of document.querySelectorAll(".cursor")) cursor.style.opacity = 0;
  const cursorText = timeline ? atCursor(timeline, event) : "";
  const own = told && !told.classList.contains("layer") ? told.dataset.tip : "";
  const layer = told && told.classList.contains("layer") ? `${told.dataset.tip}\n` : "";
  show(own || (cursorText && layer + cursorText), event);
});
document.addEventListener("pointerover", (event) => {
  const node = event.target.closest("[data-node]");
  if (node || event.target.closest("svg.architecture")) focus(node);
});
document.addEventListener("pointerleave", () => show("", null));
