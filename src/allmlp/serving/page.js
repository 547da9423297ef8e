"use strict";
const at = (id) => document.getElementById(id);
const FOR = [75, 127, 238], AGAINST = [221, 116, 32]; // as in the maps: blue adds, orange subtracts
const TOP = 10, WIDE = 704, FADED = 0.5, OPAQUE = 0.8;
const explains = Boolean(at("canvas")); // an exported graph cannot be looked into
let file = null, evidence = null, seen = null, turn = 0;

const say = (text, wrong) => { at("state").textContent = text; at("state").classList.toggle("wrong", Boolean(wrong)); };
const headers = () => (at("key") && at("key").value ? { authorization: "Bearer " + at("key").value } : {});

async function told(path, words) {
  let answer;
  try {
    answer = await fetch(path, { ...words, headers: headers() });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const said = await answer.json().catch(() => ({ error: "HTTP " + answer.status, hint: "look at the server's log" }));
  if (!answer.ok) throw new Error(said.error + ". Hint: " + said.hint + ".");
  return said;
}

// classes are drawn anew for a new picture only, so that the keyboard's focus stays where it is
async function ask(about, fresh) {
  const mine = ++turn, form = new FormData();
  form.append("images", file);
  say("Looking …");
  try {
    const wanted = explains ? "&evidence=" + encodeURIComponent(about) : "";
    const said = await told("/v1/predict?top=" + TOP + wanted, { method: "POST", body: form });
    if (mine !== turn) return;
    const found = said.predictions[0], verdict = (file.name || "The picture") + ": " + found.classes[0] + ", " + percent(found.probabilities[0]);
    if (!explains) {
      list(found);
      at("answer").hidden = false;
      return say(verdict);
    }
    const image = new Image();
    image.src = found.evidence.seen;
    await image.decode();
    if (mine !== turn) return;
    [evidence, seen] = [found.evidence, image];
    if (fresh) list(found);
    const slider = at("step"), last = evidence.steps.length - 1;
    slider.max = last;
    if (fresh) slider.value = last;
    at("answer").hidden = false;
    say(verdict);
    draw();
  } catch (error) {
    if (mine === turn) say(error.message, true);
  }
}

const percent = (share) => (100 * share).toFixed(1) + " %";
const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toPrecision(2);

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function list(found) {
  at("classes").replaceChildren(...found.classes.map((name, i) => {
    const share = found.probabilities[i], bar = element("i");
    bar.style.width = 100 * share + "%";
    const radio = element("input", { type: "radio", name: "class", value: name, checked: i === 0, hidden: !explains });
    radio.addEventListener("change", () => explains && ask(name, false));
    const shares = element("span", { className: "share" }, percent(share));
    return element("label", {}, radio, element("span", {}, name), shares, element("div", { className: "bar" }, element("span", {}, bar)));
  }));
}

function draw() {
  const canvas = at("canvas"), pen = canvas.getContext("2d");
  const step = evidence.steps[at("step").value], grid = step.values;
  canvas.width = WIDE;
  canvas.height = Math.round((WIDE * seen.naturalHeight) / seen.naturalWidth);
  pen.imageSmoothingEnabled = seen.naturalWidth >= 112;
  pen.filter = at("shown").checked ? "grayscale(1) contrast(" + FADED + ")" : "none"; // tints must not mix with its colours
  pen.drawImage(seen, 0, 0, canvas.width, canvas.height);
  pen.filter = "none";
  const all = grid.flat(), limit = Math.max(...all.map(Math.abs)) || 1;
  at("name").textContent = step.step + " (" + (1 + Number(at("step").value)) + " of " + evidence.steps.length + ")";
  at("step").setAttribute("aria-valuetext", step.step);
  at("class").textContent = evidence.name;
  at("reach").textContent = grid.length + " × " + grid[0].length + " places, from " + signed(Math.min(...all)) + " to " + signed(Math.max(...all));
  canvas.setAttribute("aria-label", "The picture as the model sees it, with what speaks for " + evidence.name + " after " + step.step);
  if (!at("shown").checked) return;
  const edge = (side, i, cells) => Math.round((side * i) / cells);
  grid.forEach((row, y) => row.forEach((value, x) => {
    const left = edge(canvas.width, x, row.length), top = edge(canvas.height, y, grid.length);
    pen.fillStyle = "rgb(" + (value > 0 ? FOR : AGAINST).join(" ") + " / " + (OPAQUE * Math.abs(value)) / limit + ")";
    pen.fillRect(left, top, edge(canvas.width, x + 1, row.length) - left, edge(canvas.height, y + 1, grid.length) - top);
  }));
}

function take(files) {
  const found = [...files].find((one) => one.type.startsWith("image/"));
  if (!found) return say("That is no picture.", true);
  file = found;
  ask("best", true);
}

async function mixing() {
  if (!at("mixing").open || at("maps").childElementCount) return;
  const note = at("mixing-state"), about = note.textContent;
  note.textContent = "Drawing …";
  try {
    const said = await told("/v1/mixing", {});
    // figures of this server's own, in which every text is escaped
    at("scale").innerHTML = said.scale;
    at("maps").replaceChildren(...said.panels.map((panel) => element("figure", { innerHTML: panel })));
    note.textContent = said.without ? "There are no such maps: " + said.without + "." : about;
  } catch (error) {
    note.textContent = error.message;
  }
}

at("file").addEventListener("change", (event) => { if (event.target.files.length) take(event.target.files); event.target.value = ""; });
if (explains) {
  for (const id of ["step", "shown"]) at(id).addEventListener("input", () => evidence && draw());
  at("mixing").addEventListener("toggle", mixing);
}
addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files); });
for (const name of ["dragenter", "dragover"]) addEventListener(name, (event) => { event.preventDefault(); at("drop").classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) at("drop").classList.remove("over"); });
addEventListener("drop", (event) => { event.preventDefault(); at("drop").classList.remove("over"); take(event.dataTransfer.files); });
