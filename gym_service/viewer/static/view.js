// The page of gym-service view: receives the stream, and shows the env that is chosen. No library, no build step.
"use strict";

const RUNNING_MEAN = 20; // episodes
const SMALL_PIXELS = 160; // a picture of this width or less is enlarged without smoothing
const element = (id) => document.getElementById(id);
const precise = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

const number = { format: (value) => (Math.abs(value) < 100 ? precise : whole).format(value) };

let socket = null;
let chosen = decodeURIComponent(location.hash.slice(1));
let finished = []; // [return, length, env] of each finished episode
let pictures = []; // of the view that is arriving
let expected = 0;

// -- light and dark ------------------------------------------------------------------------------------------------

const system = matchMedia("(prefers-color-scheme: dark)");
let theme = localStorage.getItem("gym-service-theme");
function showTheme() {
  document.documentElement.dataset.theme = theme || (system.matches ? "dark" : "light");
}
element("theme").addEventListener("click", () => {
  theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("gym-service-theme", theme);
  showTheme();
});
system.addEventListener("change", showTheme);
showTheme();

// -- the stream ----------------------------------------------------------------------------------------------------

function connect() {
  const address = new URL("stream", location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.hash = "";
  socket = new WebSocket(address);
  socket.binaryType = "blob";
  socket.onopen = () => { element("connection").textContent = "connected"; if (chosen) choose(chosen); };
  socket.onmessage = (message) => receive(message.data);
  socket.onclose = () => {
    element("connection").textContent = "gym-service view has ended, or cannot be reached";
    setTimeout(connect, 2000);
  };
}

function receive(data) {
  if (typeof data !== "string") {
    pictures.push(data);
    if (pictures.length === expected) showPictures(pictures);
    return;
  }
  const message = JSON.parse(data);
  if (message.kind === "list") showList(message.envs);
  else if (message.key === chosen) { expected = message.pictures; pictures = []; showView(message); }
  else { expected = -1; pictures = []; }
}

function choose(key) {
  if (key !== chosen) clear();
  chosen = key;
  history.replaceState(null, "", "#" + encodeURIComponent(key));
  socket.send(JSON.stringify({ choose: key }));
}

// -- the list ------------------------------------------------------------------------------------------------------

function showList(envs) {
  element("none").hidden = envs.length > 0;
  const list = element("envs");
  const before = new Map([...list.children].map((item) => [item.dataset.key, item]));
  list.replaceChildren(...envs.map((env) => {
    const item = before.get(env.key) || listItem(env.key);
    const [name, detail] = item.firstChild.children;
    name.textContent = env.name;
    detail.textContent = env.pid
      ? `process ${env.pid} of ${env.client}, ${env.state}, ${number.format(env.callsPerS)} calls/s`
      : env.state;
    item.firstChild.setAttribute("aria-current", String(env.key === chosen));
    return item;
  }));
  const isKnown = envs.some((env) => env.key === chosen);
  if (envs.length && !isKnown && element("status").hidden) choose(envs[0].key);
}

function listItem(key) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  item.dataset.key = key;
  button.type = "button";
  button.append(document.createElement("span"), document.createElement("small"));
  button.addEventListener("click", () => {
    choose(key);
    for (const other of document.querySelectorAll("nav button")) {
      other.setAttribute("aria-current", String(other === button));
    }
  });
  item.append(button);
  return item;
}

// -- one env -------------------------------------------------------------------------------------------------------

function clear() {
  finished = [];
  element("frames").replaceChildren();
  element("output").textContent = "";
  showCurve();
}

function showView(message) {
  const facts = message.facts;
  document.querySelector("main").hidden = false;
  document.title = `${message.name} – gym-service view`;
  element("name").textContent = message.name;
  element("detail").textContent = describe(facts);
  showNote("status", message.status);
  showNote("problem", facts.problem || facts.reward_problem);
  element("rate").textContent = number.format(message.stepsPerS);
  element("steps").textContent = facts.steps === undefined ? "" : whole.format(facts.steps);
  element("episode").textContent = facts.episodes === undefined ? "" : whole.format(facts.episodes);
  showEach("length", facts.lengths);
  showEach("return", facts.returns, facts.are_whole);
  showEach("reward", facts.rewards);
  if (facts.problem) element("frames").replaceChildren();
  element("text").hidden = !facts.text;
  element("text").textContent = facts.text || "";
  showInfo(facts.info || []);
  if (message.finishedBefore === 0) finished = [];
  if (message.finished.length) { finished.push(...message.finished); showCurve(); }
  else if (!element("curve").childElementCount) showCurve();
  if (message.output !== undefined) showOutput(message.output);
}

function describe(facts) {
  if (facts.env === undefined) return "";
  const parts = [facts.env];
  if (facts.envs > 1) parts.push(`${facts.envs} envs`);
  parts.push(facts.render_mode ? `render_mode = "${facts.render_mode}"` : "no render_mode");
  const shown = Math.max(1, element("frames").childElementCount);
  const what = shown > 1 ? `${shown} pictures take` : "a picture takes";
  if (facts.render_s && facts.render_mode && !facts.problem) parts.push(`${what} ${number.format(facts.render_s * 1000)} ms`);
  return parts.join(", ");
}

// A number of each env that is shown: of several envs their mean, with each of them in the tooltip. "…" stands before the
// return of an episode whose beginning nobody has seen: it counts from there on.
function showEach(id, values, areWhole) {
  const count = (values || []).length;
  const texts = (values || []).map((value, index) => (areWhole && !areWhole[index] ? "… " : "") + text(value));
  const known = (values || []).filter((value) => value !== null);
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  const isMean = count > 1 && known.length > 0;
  element(id).textContent = isMean ? number.format(mean) : texts.join("");
  element(id).previousElementSibling.dataset.of = isMean ? `, mean of ${known.length}` : "";
  element(id).title = texts.join(" · ");
}

function text(value) {
  return value === null ? "not finite" : number.format(value);
}

function showNote(id, content) {
  element(id).hidden = !content;
  element(id).textContent = content ? content[0].toUpperCase() + content.slice(1) : "";
}

function showInfo(rows) {
  if (!rows.length) rows = [["empty", ""]];
  element("info").tBodies[0].replaceChildren(...rows.map(([key, value]) => {
    const row = document.createElement("tr");
    for (const content of [key, value]) row.insertCell().textContent = content;
    return row;
  }));
}

function showOutput(content) {
  const output = element("output");
  const isAtEnd = output.scrollTop + output.clientHeight >= output.scrollHeight - 4;
  output.textContent = content || "none";
  if (isAtEnd) output.scrollTop = output.scrollHeight;
}

async function showPictures(blobs) {
  const key = chosen;
  const images = await Promise.all(blobs.map((blob) => createImageBitmap(blob)));
  if (key !== chosen) return;
  const frames = element("frames");
  while (frames.childElementCount > images.length) frames.lastChild.remove();
  while (frames.childElementCount < images.length) frames.append(document.createElement("canvas"));
  frames.style.setProperty("--across", String(Math.ceil(Math.sqrt(images.length))));
  images.forEach((image, index) => {
    const canvas = frames.children[index];
    if (canvas.width !== image.width || canvas.height !== image.height) {
      canvas.width = image.width;
      canvas.height = image.height;
      canvas.className = image.width <= SMALL_PIXELS ? "small" : "";
    }
    canvas.getContext("2d").drawImage(image, 0, 0);
    image.close();
  });
  frames.dataset.count = String(Number(frames.dataset.count || 0) + 1);
}

// -- the reward curve ----------------------------------------------------------------------------------------------

const WIDTH = 480, HEIGHT = 200, LEFT = 52, RIGHT = 8, TOP = 10, BOTTOM = 24;

function showCurve() {
  const rows = finished.filter((row) => row[0] !== null);
  element("finished").textContent = finished.length
    ? `${whole.format(finished.length)} finished; line: mean of ${RUNNING_MEAN}`
    : "none finished while you looked";
  const curve = element("curve");
  curve.replaceChildren();
  if (!rows.length) return;
  const values = rows.map((row) => row[0]);
  let low = Math.min(...values), high = Math.max(...values);
  if (low === high) { low -= 1; high += 1; }
  const x = (index) => LEFT + (WIDTH - LEFT - RIGHT) * (values.length > 1 ? index / (values.length - 1) : 0.5);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low);
  for (const value of [low, (low + high) / 2, high]) {
    curve.append(shape("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    curve.append(label(number.format(value), LEFT - 6, y(value) + 4, "end"));
  }
  curve.append(label("1", LEFT, HEIGHT - 6, "start"), label(whole.format(values.length), WIDTH - RIGHT, HEIGHT - 6, "end"));
  const every = Math.ceil(values.length / 600);
  values.forEach((value, index) => {
    if (index % every === 0) curve.append(shape("circle", { class: "dot", cx: x(index), cy: y(value), r: 2 }));
  });
  let sum = 0;
  const points = values.map((value, index) => {
    sum += value - (index >= RUNNING_MEAN ? values[index - RUNNING_MEAN] : 0);
    return `${x(index).toFixed(1)},${y(sum / Math.min(index + 1, RUNNING_MEAN)).toFixed(1)}`;
  });
  if (points.length > 1) curve.append(shape("polyline", { class: "mean", points: points.join(" ") }));
}

function shape(name, attributes) {
  const found = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  return found;
}

function label(content, x, y, anchor) {
  const found = shape("text", { x, y, "text-anchor": anchor });
  found.textContent = content;
  return found;
}

connect();
