"use strict";
// Plays a trace that stands in the page as JSON. Whatever the model wrote goes to the page as textContent, and nothing
// is fetched. What a token looks like follows dgchat/canvas/state.py, whose numbers come with the data.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const rules = data.rules;
  const NOISE = 0, PROVISIONAL = 1, ACCEPTED = 2, BACK = 3, PINNED = 4;
  const INKS = ["noise", "", "text", "back", "pin"];
  const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const $ = id => document.getElementById(id);

  // ---- the trace

  function unpacked(text, Kind) {
    return new Kind(Uint8Array.from(atob(text), char => char.charCodeAt(0)).buffer);
  }

  function bit(packed, row, place, width) {
    return (packed[row * Math.ceil(width / 8) + (place >> 3)] >> (7 - (place & 7))) & 1;
  }

  // The text that each token of a sequence adds. Tokens that are no whole characters come as bytes.
  function pieces(ids) {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true }), encoder = new TextEncoder();
    let pending = false;
    return Array.from(ids, id => {
      const spelled = data.spelled[id];
      if (!spelled.length) return "";
      const whole = typeof spelled === "string";
      if (whole && !pending) return spelled.replace(CONTROLS, "");
      const bytes = whole ? encoder.encode(spelled) : Uint8Array.from(spelled);
      pending = !whole;
      return decoder.decode(bytes, { stream: true }).replace(CONTROLS, "");
    });
  }

  function evenRound(number) {
    const low = Math.floor(number), rest = number - low;
    return rest === 0.5 ? low + (low & 1) : Math.round(number);
  }

  function shade(share) {
    return evenRound((rules.shades - 1) * Math.min(Math.max(share, 0), 1));
  }

  // What each position looks like at each step, and what it has been through.
  function study(block) {
    const width = block.length, size = width * block.steps;
    Object.assign(block, {
      look: new Uint8Array(size), age: new Uint32Array(size), changes: new Uint32Array(size),
      breaks: new Uint8Array(size), first: new Int32Array(width).fill(-1), last: new Int32Array(width),
    });
    for (let place = 0; place < width; place++) studyPlace(block, place, width);
    block.studied = true;
  }

  function studyPlace(block, place, width) {
    let before = -1, held = -1, back = 0, age = 0, changes = 0, breaks = false;
    for (let step = 0, at = place; step < block.steps; step++, at += width) {
      const id = block.drafts[at], accepted = bit(block.accepted, step, place, width);
      const pinned = bit(block.pinned, step, place, width), changed = before !== -1 && before !== id;
      age = changed ? 0 : age + 1;
      changes += changed;
      if (changed) block.last[place] = step;
      back = Math.max(0, back - 1);
      if (held !== -1 && held !== id) { held = -1; back = rules.back; }
      if (accepted) { held = id; if (block.first[place] < 0) block.first[place] = step; }
      breaks = accepted || pinned || (breaks && before === id);
      before = id;
      block.look[at] = pinned ? PINNED : back ? BACK : accepted ? ACCEPTED
        : rules.nats[block.entropy[at]] <= rules.noise ? PROVISIONAL : NOISE;
      block.age[at] = age;
      block.changes[at] = changes;
      block.breaks[at] = breaks;
    }
  }

  const Wide = data.wide ? Uint32Array : Uint16Array;
  const stops = [];  // one for each step, and one for the end: which block, and which step of it
  for (const block of data.blocks) {
    block.steps = block.temperatures.length;
    block.drafts = unpacked(block.drafts, Wide);
    for (const name of ["entropy", "accepted", "pinned"]) block[name] = unpacked(block[name], Uint8Array);
    if (block.candidates) {
      block.topIds = unpacked(block.topIds, Wide);
      block.topCodes = unpacked(block.topCodes, Uint8Array);
    }
    for (let step = 0; step < block.steps; step++) stops.push([data.blocks.indexOf(block), step]);
  }
  const END = stops.length;
  const settled = pieces(data.blocks.flatMap(block => block.tokens));
  const ends = new Set(data.ends);

  // ---- what stands where

  let at = still ? END : 0, mode = data.mode, timer = 0, pinned = null, hovered = null, focused = 0;
  const spans = data.blocks.map(block => {
    const part = document.createElement("div");
    part.style.display = "inline";
    $("canvas").append(part);
    return { part, nodes: [], drawn: [] };
  });

  function ink(block, place) {
    const look = block.look[place];
    if (look === PROVISIONAL && mode === "state" || mode !== "state" && look !== NOISE && look !== PINNED) {
      const share = mode === "age" ? block.age[place] / rules.old
        : mode === "change" ? 1 - block.changes[place] / rules.many
        : 1 - rules.nats[block.entropy[place]] / rules.noise;
      return "s" + shade(share);
    }
    return INKS[look];
  }

  function rain(cells, place, step) {
    let seed = still ? place * 7 : place * 7919 + step * 104729 + 1, text = "";
    for (let cell = 0; cell < cells; cell++) {
      seed = (Math.imul(seed ^ (seed >>> 15), 2246822519) + 3266489917) >>> 0;
      text += rules.rain[(seed >>> 11) % rules.rain.length];
    }
    return text;
  }

  function drawnText(text, look, breaks, place, step) {
    if (look === NOISE) {
      const core = text.replace(/^[ \t\n]+|[ \t\n]+$/g, "");
      return (text.startsWith(" ") ? " " : "") + rain(Math.max(1, [...core].length), place, step);
    }
    return text.replaceAll("\n", breaks ? "⏎\n" : "⏎");
  }

  // [text, ink] of each token of a block: settled ones as they ended, of a running one up to an accepted end.
  function tokens(number, step) {
    const block = data.blocks[number];
    if (step === null) {
      const begin = data.blocks.slice(0, number).reduce((sum, other) => sum + other.tokens.length, 0);
      return block.tokens.map((_, place) => [settled[begin + place], "text"]);
    }
    if (!block.studied) study(block);
    const row = step * block.length, texts = pieces(block.drafts.subarray(row, row + block.length)), found = [];
    for (let place = 0; place < block.length; place++) {
      if (ends.has(block.drafts[row + place]) && block.breaks[row + place]) break;
      const text = drawnText(texts[place], block.look[row + place], block.breaks[row + place], place, step);
      found.push([text, ink(block, row + place)]);
    }
    return found;
  }

  function draw(number, list) {
    const { part, nodes, drawn } = spans[number];
    list.forEach(([text, kind], place) => {
      if (!nodes[place]) {
        nodes[place] = document.createElement("span");
        nodes[place].dataset.place = number + ":" + place;
        nodes[place].tabIndex = -1;
      }
      if (!nodes[place].isConnected) part.append(nodes[place]);
      const before = drawn[place] || [];
      if (before[0] !== text) nodes[place].textContent = text;
      if (before[1] !== kind) nodes[place].className = kind;
      drawn[place] = [text, kind];
    });
    nodes.slice(list.length).forEach(node => node.remove());
  }

  function show(stop) {
    at = Math.min(Math.max(stop, 0), END);
    const [current, step] = at < END ? stops[at] : [data.blocks.length, null];
    spans.forEach((_, number) => draw(number, number > current ? [] : tokens(number, number < current ? null : step)));
    $("slider").value = at;
    $("status").textContent = status(current, step);
    $("slider").setAttribute("aria-valuetext", $("status").textContent);
    keepOneStop();
    drawHeat();
    drawCard();
  }

  function status(current, step) {
    if (step === null) return data.blocks.length ? "settled" : "no steps";
    const block = data.blocks[current];
    let accepted = 0;
    for (let place = 0; place < block.length; place++) {
      const look = block.look[step * block.length + place];
      accepted += look === ACCEPTED || look === PINNED;
    }
    return `block ${block.number} · step ${step + 1} of ${block.steps}   accepted ${accepted} of ${block.length}   `
      + `T ${block.temperatures[step].toFixed(2)}`;
  }

  // ---- one token

  function nodesNow() {
    return [...$("canvas").querySelectorAll("span")];
  }

  // Tab reaches one token; "," and "." go on from it.
  function keepOneStop() {
    const nodes = nodesNow();
    focused = Math.min(focused, Math.max(0, nodes.length - 1));
    nodes.forEach((node, place) => { node.tabIndex = place === focused ? 0 : -1; });
  }

  function quoted(text) {
    return "“" + text.replaceAll("\n", "⏎").replaceAll("\t", "⇥") + "”";
  }

  function add(parent, tag, text, kind) {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    parent.append(node);
    return node;
  }

  function drawCard() {
    const place = hovered || pinned, card = $("card");
    card.replaceChildren();
    document.querySelectorAll("#canvas .held").forEach(node => node.classList.remove("held"));
    const here = place && spans[place[0]] && spans[place[0]].nodes[place[1]];
    drawMarks(here && here.isConnected ? place : null);
    if (!here || !here.isConnected) {
      add(card, "p", "Point at a token to see what it has been through; click to keep it in sight.", "hint");
      return;
    }
    here.classList.add("held");
    const [number, position] = place, block = data.blocks[number];
    if (!block.steps) {
      add(card, "div", quoted(here.textContent), "token");
      add(card, "p", `position ${position + 1}, block ${block.number}: its steps were not kept`);
      return;
    }
    if (!block.studied) study(block);
    const running = at < END && stops[at][0] === number, step = running ? stops[at][1] : block.steps - 1;
    const cell = step * block.length + position;
    const ids = running ? block.drafts.subarray(step * block.length, (step + 1) * block.length) : block.tokens;
    add(card, "div", quoted(pieces(ids)[position]), "token");
    add(card, "p", `position ${position + 1}, block ${block.number}, step ${step + 1}`);
    add(card, "p", `entropy ${rules.nats[block.entropy[cell]].toFixed(2)} nats`);
    add(card, "p", block.first[position] < 0 ? "never accepted" : `first accepted at step ${block.first[position] + 1}`);
    add(card, "p", `settled at step ${block.last[position] + 1}`);
    const last = block.changes[(block.steps - 1) * block.length + position];
    add(card, "p", `changed ${block.changes[cell]}× so far, ${last}× in all`);
    drawCandidates(card, block, cell);
  }

  function drawCandidates(card, block, cell) {
    const count = block.candidates;
    if (!count || !block.topIds.length) return;
    const list = add(card, "ol");
    for (let rank = 0; rank < count; rank++) {
      const id = block.topIds[cell * count + rank], share = block.topCodes[cell * count + rank] / 255;
      const item = add(list, "li", undefined, id === block.drafts[cell] ? "drawn" : "");
      add(item, "span", pieces([id])[0].replaceAll("\n", "⏎").replaceAll("\t", "⇥") || "␀");
      add(item, "b", (100 * share).toFixed(share < 0.1 ? 1 : 0) + " %");
      add(add(item, "i"), "i").style.width = 100 * share + "%";
    }
  }

  // ---- the map of positions and steps

  let mapped = "";

  function current() {
    return at < END ? stops[at] : stops.length ? [stops[END - 1][0], null] : [-1, null];
  }

  function drawHeat() {
    const [number] = current(), block = data.blocks[number];
    const dark = matchMedia("(prefers-color-scheme: dark)").matches, key = [number, mode, dark].join();
    if (!block || mapped === key) return;
    mapped = key;
    if (!block.studied) study(block);
    const heat = $("heat"), context = heat.getContext("2d"), styles = getComputedStyle(document.documentElement);
    heat.width = block.length;
    heat.height = block.steps;
    const found = {};
    for (let cell = 0; cell < block.look.length; cell++) {
      const kind = ink(block, cell);
      context.fillStyle = found[kind] = found[kind] || styles.getPropertyValue("--" + kind);
      context.fillRect(cell % block.length, Math.floor(cell / block.length), 1, 1);
    }
    const caption = $("caption");
    caption.replaceChildren();
    add(caption, "span", `block ${block.number} of ${data.blocks.length}: positions → steps ↓`);
    add(caption, "span", block.converged ? `settled in ${block.steps} steps` : `did not settle in ${block.steps} steps`);
  }

  function drawMarks(place) {
    const [number, step] = current(), block = data.blocks[number], now = $("now").style, here = $("here").style;
    now.display = block && step !== null ? "block" : "none";
    here.display = block && place && place[0] === number ? "block" : "none";
    if (!block) return;
    now.top = 100 * step / block.steps + "%";
    now.height = 100 / block.steps + "%";
    if (place) { here.left = 100 * place[1] / block.length + "%"; here.width = 100 / block.length + "%"; }
  }

  function onMap(event) {
    const [number] = current(), block = data.blocks[number], box = $("map").getBoundingClientRect();
    if (!block) return;
    const part = (value, count) => Math.min(count - 1, Math.max(0, Math.floor(value * count)));
    hovered = [number, part((event.clientX - box.left) / box.width, block.length)];
    if (event.buttons & 1) {
      const step = part((event.clientY - box.top) / box.height, block.steps);
      pause();
      show(stops.findIndex(stop => stop[0] === number && stop[1] === step));
    } else drawCard();
  }

  // ---- playing

  function pause() {
    clearTimeout(timer);
    timer = 0;
    $("play").classList.remove("on");
    $("play").setAttribute("aria-label", "Play");
  }

  function play() {
    pause();
    if (at >= END) show(0);
    $("play").classList.add("on");
    $("play").setAttribute("aria-label", "Pause");
    const next = () => {
      show(at + 1);
      if (at < END) timer = setTimeout(next, 1000 / $("speed").value);
      else pause();
    };
    timer = setTimeout(next, Math.max(500, 1000 / $("speed").value));
  }

  function go(stop) {
    pause();
    show(stop);
  }

  function inspect(by) {
    const nodes = nodesNow();
    if (!nodes.length) return;
    const active = nodes.indexOf(document.activeElement);
    focused = active < 0 ? focused : Math.min(Math.max(active + by, 0), nodes.length - 1);
    keepOneStop();
    nodes[focused].focus();
  }

  const KEYS = {
    ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1), Home: () => go(0), End: () => go(END),
    " ": () => timer ? pause() : play(), ",": () => inspect(-1), ".": () => inspect(1),
    Escape: () => { pinned = hovered = null; drawCard(); },
  };

  document.addEventListener("keydown", event => {
    const own = event.target.closest("select, fieldset") || event.key === " " && event.target.closest("button");
    if (own || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
  });

  // ---- the page

  function placeOf(event) {
    const node = event.target.closest("#canvas span");
    return node ? node.dataset.place.split(":").map(Number) : null;
  }

  $("canvas").addEventListener("pointerover", event => { hovered = placeOf(event); drawCard(); });
  $("canvas").addEventListener("pointerleave", () => { hovered = null; drawCard(); });
  $("canvas").addEventListener("focusin", event => { pinned = placeOf(event); hovered = null; drawCard(); });
  $("canvas").addEventListener("click", event => { pinned = placeOf(event); drawCard(); });
  for (const name of ["pointerdown", "pointermove"]) $("map").addEventListener(name, onMap);
  $("map").addEventListener("pointerleave", () => { hovered = null; drawCard(); });
  $("play").addEventListener("click", KEYS[" "]);
  $("slider").addEventListener("input", event => go(Number(event.target.value)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawHeat);

  for (const name of ["state", "entropy", "age", "change"]) {
    const label = add($("modes"), "label"), input = add(label, "input");
    Object.assign(input, { type: "radio", name: "mode", value: name, checked: name === mode });
    label.append(name);
    input.addEventListener("change", () => { mode = name; show(at); });
  }
  for (const pace of [...new Set([1, 2, 4, 8, 12, 24, 60, data.pace])].sort((a, b) => a - b)) {
    Object.assign(add($("speed"), "option", `${pace} steps/s`), { value: pace, selected: pace === data.pace });
  }
  $("model").textContent = ["dgchat", data.about.model, data.about.seed === null ? "" : `seed ${data.about.seed}`,
    data.about.steered ? "steered" : ""].filter(Boolean).join(" · ");
  $("prompt").textContent = data.about.prompt;
  $("prompt").hidden = !data.about.prompt;
  $("slider").max = END;
  show(at);
  if (!still && END) play();
})();
