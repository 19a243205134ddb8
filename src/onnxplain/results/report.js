"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const list = byId("cards");
  const cards = [...list.children];
  const labelsOf = (card) => card.dataset.labels.split("\n");
  const texts = new Map(cards.map((card) => {
    const { name, labels, methods } = card.dataset;
    return [card, `${name}\n${labels}\n${methods}`.toLowerCase()];
  }));

  const order = {
    "order": (a, b) => a.dataset.order - b.dataset.order,
    "score-down": (a, b) => b.dataset.score - a.dataset.score,
    "score-up": (a, b) => a.dataset.score - b.dataset.score,
    "name": (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true }),
    "labels": (a, b) => a.dataset.labels.localeCompare(b.dataset.labels),
  };

  function fillLabels() {
    const counts = new Map();
    for (const card of cards) {
      for (const label of labelsOf(card)) counts.set(label, (counts.get(label) ?? 0) + 1);
    }
    for (const label of [...counts.keys()].sort((a, b) => a.localeCompare(b))) {
      const option = document.createElement("option");
      option.value = label;
      option.textContent = `${label} (${counts.get(label)})`;
      byId("label").append(option);
    }
  }

  function filter() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const label = byId("label").value;
    let shown = 0;
    for (const card of cards) {
      const fits = words.every((word) => texts.get(card).includes(word)) && (!label || labelsOf(card).includes(label));
      card.hidden = !fits;
      shown += fits;
    }
    byId("count").value = `${shown} of ${cards.length} ${cards.length === 1 ? "photo" : "photos"}`;
    byId("nothing").hidden = shown > 0;
  }

  function sort() {
    const compare = order[byId("sort").value];
    list.append(...cards.sort((a, b) => compare(a, b) || order.order(a, b)));
  }

  const viewer = byId("viewer");
  let current = null;

  function show(button) {
    current = button;
    const picture = button.querySelector("img");
    byId("enlarged").src = picture.src;
    byId("enlarged").alt = picture.alt;
    byId("description").textContent = picture.alt;
    if (!viewer.open) viewer.showModal();
  }

  function step(by) {
    const buttons = cards.filter((card) => !card.hidden).flatMap((card) => [...card.querySelectorAll(".zoom")]);
    show(buttons[(buttons.indexOf(current) + by + buttons.length) % buttons.length]);
  }

  list.addEventListener("click", (event) => {
    const button = event.target.closest(".zoom");
    if (button) show(button);
  });
  viewer.addEventListener("click", (event) => {
    if (event.target === viewer) viewer.close();
  });
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  viewer.addEventListener("close", () => current?.focus());
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("search").addEventListener("input", filter);
  byId("label").addEventListener("change", filter);
  byId("sort").addEventListener("change", sort);

  fillLabels();
  filter();
  byId("controls").hidden = false;
})();
