"use strict";

// The picture is drawn anew with each answer. All texts of the cluster become text nodes; nothing is
// read as HTML. The fragment of the URL holds the token, the chosen set, and the number of groups that
// is asked about where that is another one than the set has.

const EVERY = 2000; // Milliseconds between two answers.
const MOST_RANKS = 64;
const MOST_GROUPS = 256;
const LEAST_SLIDE = 10; // The slider goes up to twice the groups of the set, and at least so far.

const given = () => new URLSearchParams(location.hash.slice(1));

function chosen() {
  return given().get("set") || "";
}

function link(set, replicas = null) {
  const asked = given();
  asked.set("set", set);
  asked.delete("replicas");
  if (replicas !== null) {
    asked.set("replicas", replicas);
  }
  return "#" + asked.toString();
}

// Elements ---------------------------------------------------------------------------------------

function element(name, attributes, ...content) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    made.setAttribute(key, value);
  }
  made.append(...content.flat().filter((one) => one !== null && one !== undefined));
  return made;
}

function row(kind, cells) {
  return element("tr", {}, cells.map((cell) => element(kind, {}, cell)));
}

function table(head, rows) {
  return element("table", {}, element("thead", {}, row("th", head)), element("tbody", {}, rows));
}

function fill(id, ...content) {
  document.getElementById(id).replaceChildren(...content.flat().filter(Boolean));
}

// Panels: each draws its part of the picture -----------------------------------------------------

function drawNotes(picture) {
  fill("notes", (picture.notes || []).map((note) => element("li", {}, note)));
}

function drawSets(picture) {
  const rows = (picture.sets || []).map((set) => {
    const name = `${set.namespace}/${set.name}`;
    const current = name === chosen() ? { "aria-current": "true" } : {};
    const state = element("span", { class: `state ${set.state}` }, set.state);
    return row("td", [
      element("a", { href: link(name), ...current }, name),
      state,
      `${set.ready}/${set.replicas}`,
      set.queue || "-",
    ]);
  });
  const body = element("tbody", {}, rows);
  fill("sets", element("thead", {}, row("th", ["Set", "State", "Ready", "Queue"])), body);
}

// Return the ranks of all groups by "group/rank", with the domains in which they are.
function ranks(domains, above = [], found = new Map()) {
  for (const domain of domains || []) {
    const path = [...above, domain.value];
    for (const rank of domain.ranks || []) {
      found.set(`${rank.group}/${rank.rank}`, { ...rank, path: domain.level ? path : [] });
    }
    ranks(domain.domains, path, found);
  }
  return found;
}

function rankState(rank) {
  if (!rank) {
    return "missing";
  }
  if (rank.ready) {
    return "ready";
  }
  return rank.path.length ? "starting" : "held";
}

function drawRanks(group, known) {
  const cells = [];
  for (let number = 0; number < Math.min(group.pods, MOST_RANKS); number++) {
    const rank = known.get(`${group.index}/${number}`);
    const state = rankState(rank);
    const where = rank && rank.path.length ? ` on ${rank.path.join(" / ")}` : "";
    const title = `rank ${number}: ${rank ? rank.pod : "no pod"}, ${state}${where}`;
    cells.push(element("span", { class: `rank ${state}`, title, role: "img", "aria-label": title }));
  }
  if (group.pods > MOST_RANKS) {
    cells.push(`+${group.pods - MOST_RANKS}`);
  }
  return element("div", { class: "ranks" }, cells);
}

function drawWhy(why) {
  const told = [...(why.explanations || []), ...(why.ofTheSet || [])].map((one) => {
    const groups = one.groups && one.groups.length ? `Group ${one.groups.join(", ")}` : "The set";
    const change = one.change ? element("p", { class: "change" }, `Change: ${one.change}`) : null;
    return element("li", {}, element("p", {}, `${groups}: ${one.why}`), change);
  });
  if (why.controllerSays) {
    told.push(element("li", {}, `The controller says: ${why.controllerSays}`));
  }
  return told.length ? [element("h3", {}, "Why groups wait"), element("ul", { id: "why" }, told)] : [];
}

function drawUpdate(update) {
  const share = `${update.updated} of ${update.replicas} groups at ${update.revision || "no revision"}`;
  const how = update.paused ? "paused, " : update.underWay ? "updating, " : "";
  return element("p", { id: "update" }, `${how}${share}, ${update.ready} of them ready`);
}

function drawSet(picture) {
  if (!picture.chosen) {
    fill("set", element("p", {}, "Choose a set."));
    return;
  }
  const { status, where, why } = picture.chosen;
  const known = ranks(where.domains);
  const groups = status.groups || [];
  const rows = groups.slice(0, MOST_GROUPS).map((group) =>
    row("td", [
      String(group.index),
      element("span", { class: `state ${group.admission}` }, group.admission || "-"),
      (group.flavors || []).join(", ") || group.cluster || "-",
      `${group.ready}/${group.pods}`,
      drawRanks(group, known),
    ]),
  );
  const left = groups.length - rows.length;
  fill(
    "set",
    element("h2", {}, `${status.namespace}/${status.name}`),
    drawUpdate(status.update),
    drawWhy(why),
    element("h3", {}, "Groups and ranks"),
    table(["Group", "State", "Flavor", "Ready", "Ranks"], rows),
    left > 0 ? element("p", {}, `and ${left} more groups`) : null,
  );
}

function drawDomain(domain) {
  const name = `${domain.level ? domain.level.split("/").pop() + " " : ""}${domain.value}`;
  const inside = (domain.domains || []).map(drawDomain);
  const marks = (domain.ranks || []).map((rank) => {
    const state = rank.ready ? "ready" : domain.level ? "starting" : "held";
    const title = `group ${rank.group} rank ${rank.rank}: ${rank.pod}, ${state}`;
    return element("span", { class: `rank ${state} named`, title }, `${rank.group}.${rank.rank}`);
  });
  return element("div", { class: "domain" }, element("h4", {}, name), marks, inside);
}

function drawPlaces(picture) {
  const domains = picture.chosen ? picture.chosen.where.domains || [] : [];
  const drawn = element("div", { class: "domains" }, domains.map(drawDomain));
  fill("places", ...(domains.length ? [element("h3", {}, "Racks and hosts"), drawn] : []));
}

function drawBar(bar) {
  const share = Math.min(bar.usedOfNominal, 1);
  const borrowed = bar.borrowed ? ` (${bar.borrowed} borrowed)` : "";
  const told = `${bar.used} of ${bar.nominal} ${bar.resource} used${borrowed}`;
  return row("td", [
    bar.flavor,
    element("meter", { min: 0, max: 1, value: share, title: told, "aria-label": told }),
    told,
  ]);
}

function drawQueues(picture) {
  const drawn = (picture.queues || []).map((queue) =>
    element(
      "article",
      {},
      element("h3", {}, `ClusterQueue ${queue.name}`),
      element(
        "p",
        {},
        `${queue.admitted} admitted, ${queue.pending} pending`,
        queue.cohort ? `, cohort ${queue.cohort}` : null,
      ),
      element("table", {}, element("tbody", {}, (queue.bars || []).map(drawBar))),
    ),
  );
  fill("queues", drawn.length ? [element("h2", {}, "Queues"), ...drawn] : []);
}

// What if: the slider stays as it is while the rest is drawn anew, because somebody may hold it.
const slider = document.getElementById("replicas");
let held = false;

function drawWanted() {
  document.getElementById("wanted").textContent = slider.value;
}

function drawThen(found) {
  if (!found) {
    return [element("p", {}, "Move it: how many groups would have quota? Nothing is written.")];
  }
  if (found.problem) {
    return [element("p", { class: "wrong" }, found.problem)];
  }
  // Columns of which no row says anything are left out.
  const head = found.head || [];
  const rows = (found.rows || []).slice(0, MOST_GROUPS);
  const said = head.map((_, index) => index).filter((index) => rows.some((cells) => cells[index]));
  const list = (of) => element("ul", {}, (of || []).map((one) => element("li", {}, one)));
  const name = (text) => text[0] + text.slice(1).toLowerCase();
  return [
    element("p", { class: "change" }, `${found.running} of ${found.replicas} groups would have quota`),
    table(
      said.map((index) => name(head[index])),
      rows.map((cells) => row("td", said.map((index) => cells[index] || "-"))),
    ),
    found.waits ? list(found.waits) : null,
    found.displaced ? element("p", {}, `Displaced: ${found.displaced.join(", ")}`) : null,
    element("details", {}, element("summary", {}, "Not modelled"), list(found.notModelled)),
  ];
}

function drawWhatIf(picture) {
  document.getElementById("whatif").hidden = !picture.chosen;
  if (!picture.chosen) {
    return;
  }
  const live = picture.chosen.status.update.replicas;
  const found = picture.chosen.whatIf;
  if (!held) {
    const wanted = found ? found.replicas : live;
    slider.max = Math.max(LEAST_SLIDE, 2 * live, wanted);
    slider.value = wanted;
    drawWanted();
  }
  slider.dataset.live = live;
  const open = document.querySelector("#then details[open]") !== null;
  fill("then", drawThen(found));
  const details = document.querySelector("#then details");
  if (details) {
    details.open = open;
  }
}

slider.addEventListener("input", () => {
  held = true;
  drawWanted();
});
slider.addEventListener("change", () => {
  held = false;
  const asked = slider.value === slider.dataset.live ? null : slider.value;
  location.replace(link(chosen(), asked)); // The change of the fragment asks again.
});

const PANELS = [drawNotes, drawSets, drawSet, drawWhatIf, drawPlaces, drawQueues];

// Asking -----------------------------------------------------------------------------------------

function say(text, wrong = false) {
  const state = document.getElementById("state");
  state.textContent = text;
  state.className = wrong ? "wrong" : "";
}

async function ask() {
  const query = new URLSearchParams(chosen() ? { set: chosen() } : {});
  if (given().has("replicas")) {
    query.set("replicas", given().get("replicas"));
  }
  const headers = { Authorization: `Bearer ${given().get("token") || ""}` };
  const answer = await fetch(`data?${query}`, { headers });
  if (!answer.ok) {
    throw new Error(await answer.text());
  }
  const picture = await answer.json();
  if (picture.error) {
    throw new Error(picture.error);
  }
  return picture;
}

// Only the newest question counts: an older answer may be about another set.
let latest = 0;

async function refresh() {
  const mine = ++latest;
  try {
    const picture = await ask();
    if (mine !== latest) {
      return;
    }
    if (!chosen() && (picture.sets || []).length) {
      const first = picture.sets[0];
      location.replace(link(`${first.namespace}/${first.name}`));
      return; // The change of the fragment asks again.
    }
    for (const panel of PANELS) {
      panel(picture);
    }
    say(`as of ${new Date(picture.at).toLocaleTimeString()}`);
  } catch (error) {
    if (mine !== latest) {
      return;
    }
    const why = error instanceof TypeError ? "kubectl lws dashboard has ended" : error.message;
    say(`What is shown may be old: ${why.trim()}`, true);
  }
  setTimeout(() => {
    if (mine === latest) {
      refresh();
    }
  }, EVERY);
}

window.addEventListener("hashchange", refresh);
refresh();
