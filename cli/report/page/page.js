"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const ledger = byId("ledger");
  if (!ledger) return;
  const body = ledger.tBodies[0];
  const rows = [...body.rows];
  const rowOf = new Map(rows.map((row) => [Number(row.id), row]));
  const texts = new Map();
  const textOf = (row) => texts.get(row) || texts.set(row, row.textContent.toLowerCase()).get(row);
  const plot = byId("plot");
  const points = plot ? [...plot.querySelectorAll("use[data-n]")] : [];
  points.sort((a, b) => a.dataset.n - b.dataset.n);

  function made(tag, className, content) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (content) element.textContent = content;
    return element;
  }

  // Diffs -------------------------------------------------------------------------------------------------------

  function coloured(pre, source, most) {
    const lines = source.replace(/\n$/, "").split("\n");
    let inHunk = false;
    pre.textContent = "";
    pre.className = "diff done";
    for (const line of lines.slice(0, most)) {
      let kind = "";
      if (line.startsWith("diff --git")) { kind = "f first"; inHunk = false; }
      else if (line.startsWith("@@")) { kind = "h"; inHunk = true; }
      else if (!inHunk) kind = "f";
      else if (line[0] === "+") kind = "a";
      else if (line[0] === "-") kind = "d";
      pre.append(made("span", kind, line || " "));
    }
    if (lines.length > most) pre.append(made("span", "f", "… " + (lines.length - most) + " more lines"));
    return pre;
  }

  function changesOnly(source) {
    let inHunk = false;
    return source.split("\n").filter((line) => {
      if (line.startsWith("diff --git")) { inHunk = false; return true; }
      if (line.startsWith("@@")) { inHunk = true; return true; }
      return inHunk ? line[0] === "+" || line[0] === "-" : line.startsWith("Binary files");
    }).join("\n");
  }

  function diffOf(number) {
    const kept = byId("d" + number);
    if (kept) return [kept.dataset.source || kept.textContent, ...data.kept[number]];
    return data.diffs[number];
  }

  function diffParts(number, most) {
    const found = diffOf(number);
    if (!found) return [];
    const [source, size, cut] = found;
    const parts = [];
    if (source) parts.push(coloured(made("pre"), most < 1000 ? changesOnly(source) : source, most));
    if (cut && most >= 1000) {
      const note = made("p", "note", (source ? "Cut here, of " : "") + size.toLocaleString("en") + " bytes. Whole: ");
      note.append(made("code", "", "beatctl diff " + data.id + " " + number));
      parts.push(note);
    }
    return parts;
  }

  document.querySelectorAll(".kept details").forEach((details) => {
    details.addEventListener("toggle", () => {
      const pre = details.querySelector("pre");
      if (!details.open || pre.dataset.source) return;
      pre.dataset.source = pre.textContent;
      coloured(pre, pre.dataset.source, 5000);
    });
  });
  addEventListener("beforeprint", () => document.querySelectorAll(".kept details").forEach((details) => { details.open = true; }));

  // One experiment ----------------------------------------------------------------------------------------------

  function described(number, most) {
    const row = rowOf.get(number);
    const [, verdict, score, change, took, cost, words] = [...row.cells].map((cell) => cell.textContent.trim());
    const head = made("div", "head");
    const mark = document.querySelector(".chip[data-v=" + verdict + "] svg");
    if (mark) head.append(mark.cloneNode(true));
    head.append(made("span", "", "#" + number + " " + verdict));
    if (score) head.append(made("span", "", score));
    if (change) head.append(made("span", "dim", change));
    head.append(made("span", "dim", [took, cost].filter(Boolean).join(", ")));
    const more = data.more[number] || {};
    const parts = [head, made("p", "", words)];
    if (most >= 1000) {
      for (const key of ["why", "said"]) if (more[key]) parts.push(made("p", "", more[key]));
      const names = [["agent", "agent"], ["tokens", "tokens"], ["eval", "evaluator"], ["samples", "samples"], ["snap", "snapshot"]];
      const told = names.filter(([key]) => more[key]).map(([key, name]) => name + " " + more[key]);
      if (told.length) parts.push(made("p", "note", told.join(" · ")));
    }
    parts.push(...diffParts(number, most));
    return parts;
  }

  // Ledger: filter, sort, open ----------------------------------------------------------------------------------

  const search = byId("search");
  const count = byId("count");
  const chips = [...document.querySelectorAll(".chip")];

  function closeRows() {
    body.querySelectorAll("tr.open").forEach((row) => row.remove());
  }

  function filter() {
    const off = new Set(chips.filter((chip) => chip.getAttribute("aria-pressed") === "false").map((chip) => chip.dataset.v));
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    closeRows();
    for (const row of rows) {
      row.hidden = off.has(row.dataset.v) || !wanted.every((word) => textOf(row).includes(word));
      if (!row.hidden) shown += 1;
    }
    for (const point of points) point.classList.toggle("off", rowOf.get(Number(point.dataset.n)).hidden);
    count.textContent = shown === rows.length ? "" : shown.toLocaleString("en") + " of " + rows.length.toLocaleString("en");
  }

  for (const chip of chips) {
    chip.addEventListener("click", () => {
      const on = chip.getAttribute("aria-pressed") === "false";
      for (const same of chips) if (same.dataset.v === chip.dataset.v) same.setAttribute("aria-pressed", String(on));
      filter();
    });
  }
  search.addEventListener("input", filter);

  ledger.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const down = button.getAttribute("aria-sort") === "ascending";
    ledger.tHead.querySelectorAll("button").forEach((other) => other.removeAttribute("aria-sort"));
    button.setAttribute("aria-sort", down ? "descending" : "ascending");
    const by = button.dataset.by;
    const value = (row) => (by === "n" ? Number(row.id) : by === "v" ? row.dataset.v : by in row.dataset ? Number(row.dataset[by]) : null);
    closeRows();
    rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a.id - b.id;
      const order = x < y ? -1 : x > y ? 1 : 0;
      return (down ? -order : order) || a.id - b.id;
    });
    body.append(...rows);
  });

  function toggle(row) {
    const next = row.nextElementSibling;
    if (next && next.classList.contains("open")) { next.remove(); return; }
    const opened = made("tr", "open");
    const cell = opened.insertCell();
    cell.colSpan = 7;
    cell.append(...described(Number(row.id), 5000).slice(2));
    if (!cell.childNodes.length) cell.append(made("p", "note", data.problem || "Nothing else is known of it."));
    row.after(opened);
  }

  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (!row || row.classList.contains("open") || String(getSelection())) return;
    event.preventDefault();
    toggle(row);
  });

  // Picture: hover, tap, keys -----------------------------------------------------------------------------------

  if (!plot) return;
  const tip = byId("tip");
  const ring = byId("ring");
  const detail = byId("detail");
  let current = null;

  function nearest(event) {
    const box = plot.querySelector("svg").getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let found = null;
    let least = event.pointerType === "touch" ? 40 : 30;
    for (const point of points) {
      if (point.classList.contains("off")) continue;
      const dx = (parseFloat(point.getAttribute("x")) / 100) * box.width - x;
      const dy = (parseFloat(point.getAttribute("y")) / 100) * box.height - y;
      const weight = point.classList.contains("keep") || point.classList.contains("pass") ? 0.6 : 1;
      const distance = Math.hypot(dx, dy) * weight;
      if (distance < least) { least = distance; found = point; }
    }
    return found;
  }

  function showTip(point) {
    if (!point) { hideTip(); return; }
    const box = point.getBoundingClientRect();
    ring.setAttribute("cx", point.getAttribute("x"));
    ring.setAttribute("cy", point.getAttribute("y"));
    ring.removeAttribute("hidden");
    if (point !== current || tip.hidden) {
      current = point;
      tip.replaceChildren(...described(Number(point.dataset.n), 12));
      tip.hidden = false;
    }
    const left = Math.min(Math.max(8, box.left + 16), document.documentElement.clientWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 12;
    const below = box.bottom + 12;
    tip.style.left = left + "px";
    tip.style.top = (below + tip.offsetHeight < innerHeight || above < 0 ? Math.max(8, Math.min(below, innerHeight - tip.offsetHeight - 8)) : above) + "px";
  }

  function hideTip() {
    tip.hidden = true;
    ring.setAttribute("hidden", "");
  }

  function pin(point) {
    hideTip();
    ring.removeAttribute("hidden");
    const close = made("button", "close", "×");
    close.type = "button";
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => { detail.hidden = true; plot.focus(); });
    detail.replaceChildren(close, ...described(Number(point.dataset.n), 5000));
    detail.hidden = false;
  }

  plot.addEventListener("pointermove", (event) => { if (event.pointerType !== "touch") showTip(nearest(event)); });
  plot.addEventListener("pointerleave", hideTip);
  plot.addEventListener("blur", hideTip);
  plot.addEventListener("click", (event) => {
    const point = nearest(event);
    if (point) { showTip(point); pin(point); }
  });
  plot.addEventListener("keydown", (event) => {
    const shown = points.filter((point) => !point.classList.contains("off"));
    const at = shown.indexOf(current);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      showTip(shown[Math.max(0, Math.min(shown.length - 1, to))]);
      plot.setAttribute("aria-label", tip.textContent);
    } else if ((event.key === "Enter" || event.key === " ") && current) {
      event.preventDefault();
      pin(current);
    } else if (event.key === "Escape") {
      hideTip();
      detail.hidden = true;
    }
  });

  document.querySelectorAll("a.num").forEach((link) => {
    link.addEventListener("click", () => {
      const row = rowOf.get(Number(link.hash.slice(1)));
      if (!row) return;
      if (row.hidden) { search.value = ""; chips.forEach((chip) => chip.setAttribute("aria-pressed", "true")); filter(); }
      if (!row.nextElementSibling || !row.nextElementSibling.classList.contains("open")) toggle(row);
    });
  });
})();
