// The console works without this file. It keeps pages up to date while somebody looks, keeps relative times true, and
// adds keys. It is small on purpose: no library, nothing from elsewhere.
"use strict";

// ---- times -------------------------------------------------------------------------------------------------------

const THIN = "\u202f";
// How far the server's clock is ahead of this machine's.
let ahead = clockAhead(document.body.dataset.now);

function clockAhead(now) {
  const server = Date.parse(now || "");
  return Number.isNaN(server) ? 0 : server - Date.now();
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60), hours = Math.floor(seconds / 3600), days = Math.floor(seconds / 86400);
  if (seconds < 60) return `${Math.floor(seconds)}${THIN}s`;
  if (hours < 1) return `${minutes}${THIN}min`;
  if (hours < 10 && minutes % 60 > 0) return `${hours}${THIN}h ${minutes % 60}${THIN}min`;
  return days < 1 ? `${hours}${THIN}h` : `${days}${THIN}d`;
}

function relative(at) {
  const seconds = (Date.now() + ahead - at) / 1000;
  if (seconds <= -1) return `in ${duration(-seconds)}`;
  return seconds < 1 ? "just now" : `${duration(seconds)} ago`;
}

function tellTimes(root) {
  for (const time of root.querySelectorAll("time[data-relative]")) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    const text = relative(at);
    if (time.textContent !== text) time.textContent = text;
  }
}

// The exact time in the reader's own zone, beside the one in UTC.
document.addEventListener("pointerover", (event) => {
  const time = event.target.closest?.("time[title]");
  if (!time || time.dataset.local) return;
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.getTime())) return;
  time.dataset.local = "told";
  time.title += `\n${at.toLocaleString()} here`;
});

// ---- live pages --------------------------------------------------------------------------------------------------

const pulse = document.getElementById("pulse");
const pulseWord = document.getElementById("pulse-word");
let source = null;
let again = 0;
let wait = 1000;

function say(state, word) {
  if (!pulse || pulse.dataset.state === state) return;
  pulse.dataset.state = state;
  pulseWord.textContent = word;
}

function connect() {
  const path = document.body.dataset.live;
  if (!path || source || document.hidden) return;
  clearTimeout(again);
  source = new EventSource(`/live?path=${encodeURIComponent(path)}`);
  source.addEventListener("page", (event) => {
    wait = 1000;
    say("live", "Live");
    const { now, fragments } = JSON.parse(event.data);
    ahead = clockAhead(now);
    for (const fragment of fragments) show(fragment);
  });
  source.addEventListener("trouble", (event) => {
    say("trouble", `Not live: ${JSON.parse(event.data).detail}`);
  });
  source.addEventListener("end", () => {
    disconnect();
    say("trouble", "Not live: sign in again, or the server stopped");
    retry();
  });
  source.addEventListener("error", () => {
    disconnect();
    say("trouble", "Not live: the server does not answer");
    retry();
  });
}

function disconnect() {
  source?.close();
  source = null;
}

function retry() {
  clearTimeout(again);
  again = setTimeout(connect, wait);
  wait = Math.min(wait * 2, 30000);
}

function show({ id, v, html }) {
  const element = document.getElementById(id);
  if (!element || element.dataset.v === v) return;
  const next = document.createElement("div");
  next.innerHTML = html;
  tellTimes(next);
  morphChildren(element, next);
  element.dataset.v = v;
  point();
}

// Makes one element like another, and keeps what did not change: focus, selection, scroll and open parts stay.
function morph(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName || from.id !== to.id) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  // What somebody opened or writes is theirs.
  const kept = from.nodeName === "DETAILS" ? "open" : from === document.activeElement ? "value" : "";
  for (const { name } of [...from.attributes]) if (name !== kept && !to.hasAttribute(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (name !== kept && from.getAttribute(name) !== value) from.setAttribute(name, value);
  if (from.nodeName === "INPUT" || from.nodeName === "TEXTAREA" || from.nodeName === "SELECT") return;
  morphChildren(from, to);
}

function morphChildren(from, to) {
  const next = [...to.childNodes];
  // Elements with an id are found again wherever they moved to.
  const known = new Map([...from.children].filter((child) => child.id).map((child) => [child.id, child]));
  next.forEach((child, at) => {
    const moved = child.id && known.get(child.id);
    if (moved && from.childNodes[at] !== moved) from.insertBefore(moved, from.childNodes[at] ?? null);
    const current = from.childNodes[at];
    if (current) morph(current, child);
    else from.append(child);
  });
  while (from.childNodes.length > next.length) from.lastChild.remove();
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    disconnect();
    clearTimeout(again);
  } else {
    tellTimes(document);
    wait = 1000;
    connect();
  }
});
addEventListener("pagehide", disconnect);
addEventListener("pageshow", connect);
setInterval(() => { if (!document.hidden) tellTimes(document); }, 1000);
connect();

// ---- charts ------------------------------------------------------------------------------------------------------

// The values are in the picture. Whoever points at it, or moves through it with the arrow keys, sees those of one moment
// in the legend. The numbers are written as the server writes them.
const NOTHING = "\u2013";
let pointed = null;

function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, THIN);
}

function decimal(number) {
  const size = Math.abs(number);
  if (size < 0.005) return "0";
  if (size < 1) return number.toFixed(2);
  if (size < 9.95) return number.toFixed(1);
  return `${number < 0 ? "-" : ""}${count(Math.round(size))}`;
}

function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  for (; size >= 999.5 && unit + 1 < units.length; unit += 1) size /= 1000;
  return `${size.toFixed(unit > 0 && size < 9.95 ? 1 : 0)}${THIN}${units[unit]}`;
}

function seconds(long) {
  return long < 9.95 ? `${decimal(long)}${THIN}s` : duration(Math.round(long));
}

const WRITE = {
  "rate": (value) => `${decimal(value)}${THIN}/s`,
  "byte-rate": (value) => `${bytes(value)}/s`,
  "events": (value) => `${count(Math.round(value))} ${Math.round(value) === 1 ? "event" : "events"}`,
  "milliseconds": (value) => (value >= 999.5 ? seconds(value / 1000) : `${decimal(value)}${THIN}ms`),
  "number": decimal,
};

function linesOf(svg) {
  const figure = svg.closest("figure");
  const places = [...figure.querySelectorAll(".key b")];
  return [...svg.querySelectorAll("path[data-values]")].map((path, at) => ({
    name: path.dataset.name,
    place: places[at],
    values: path.dataset.values.split(",").map((value) => (value === "" ? null : Number(value))),
  }));
}

function written(svg, value) {
  return value === null || value === undefined ? NOTHING : WRITE[svg.dataset.unit]?.(value) ?? String(value);
}

// Shows the values of the moment that is pointed at.
function point() {
  if (!pointed) return "";
  const { svg } = pointed;
  if (!svg.isConnected) {
    pointed = null;
    return "";
  }
  const lines = linesOf(svg);
  const many = Math.max(0, ...lines.map((line) => line.values.length));
  if (many === 0) return "";
  const nth = Math.max(0, Math.min(pointed.nth, many - 1));
  pointed.nth = nth;
  const x = many > 1 ? (nth / (many - 1)) * 600 : 600;
  svg.querySelector(".cursor")?.setAttribute("d", `M${x.toFixed(1)} 0V120`);
  const from = Number(svg.dataset.from);
  let when = `${nth + 1} of ${many}`;
  if (svg.dataset.from) {
    const at = from + nth * Number(svg.dataset.step) * 1000;
    when = `${new Date(at).toLocaleTimeString()}, ${relative(at)}`;
  }
  svg.closest("figure").querySelector(".when").textContent = when;
  const said = lines.map((line) => {
    const text = written(svg, line.values[nth]);
    line.place.textContent = text;
    return `${line.name} ${text}`;
  });
  return `${when}: ${said.join(", ")}`;
}

function unpoint() {
  if (!pointed) return;
  const { svg } = pointed;
  pointed = null;
  svg.querySelector(".cursor")?.removeAttribute("d");
  svg.closest("figure").querySelector(".when").textContent = "";
  for (const { place, values } of linesOf(svg)) {
    const newest = values.slice(-3).reverse().find((value) => value !== null);
    place.textContent = written(svg, newest);
  }
}

function pictureAt(target) {
  return target.closest?.("svg[data-unit]");
}

for (const kind of ["pointermove", "pointerdown"]) {
  document.addEventListener(kind, (event) => {
    const svg = pictureAt(event.target);
    if (!svg) return document.activeElement === pointed?.svg ? undefined : unpoint();
    if (pointed && pointed.svg !== svg) unpoint();
    const { left, width } = svg.getBoundingClientRect();
    const many = Math.max(1, ...linesOf(svg).map((line) => line.values.length));
    pointed = { svg, nth: Math.round(((event.clientX - left) / width) * (many - 1)) };
    point();
  });
}

document.addEventListener("focusout", (event) => {
  if (pictureAt(event.target)) unpoint();
});

document.addEventListener("keydown", (event) => {
  const svg = pictureAt(event.target);
  const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
  if (!svg || !(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const last = Math.max(0, ...linesOf(svg).map((line) => line.values.length)) - 1;
  const from = pointed?.svg === svg ? pointed.nth : last + (event.key === "ArrowLeft" ? 1 : 0);
  if (pointed && pointed.svg !== svg) unpoint();
  pointed = { svg, nth: Math.max(0, Math.min(from + steps[event.key], last)) };
  document.getElementById("said").textContent = point();
});

// ---- keys --------------------------------------------------------------------------------------------------------

let goes = 0;

function writes(element) {
  return element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.nodeName);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && writes(event.target)) return event.target.blur();
  if (writes(event.target)) return;
  if (goes) {
    clearTimeout(goes);
    goes = 0;
    const link = [...document.querySelectorAll("a[data-go]")].find((link) => link.dataset.go === event.key);
    if (link) {
      event.preventDefault();
      link.click();
    }
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("q")?.focus();
  } else if (event.key === "?") {
    location.assign("/keys");
  } else if (event.key === "g") {
    goes = setTimeout(() => { goes = 0; }, 1500);
  }
});

// ---- navigation --------------------------------------------------------------------------------------------------

// On a narrow screen the navigation is one row that scrolls: the part that somebody is in is to be seen.
{
  const row = document.querySelector(".side nav");
  const here = row?.querySelector("[aria-current]");
  if (here) row.scrollLeft = here.offsetLeft - (row.clientWidth - here.offsetWidth) / 2;
}

// ---- copying -----------------------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-copy]");
  if (!button || !navigator.clipboard) return;
  navigator.clipboard.writeText(button.dataset.copy).then(() => {
    const word = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = word; }, 1500);
  }, () => {});
});
