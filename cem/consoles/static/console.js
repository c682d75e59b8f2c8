// Keeps the overview fresh: fetches the page's live part as HTML every few seconds and puts it in place, unless the
// reader has paused it, is selecting text, or looks at another tab. Without this script the page works by reloading.
"use strict";
(() => {
  const live = document.getElementById("live");
  const controls = document.querySelector("[data-controls]");
  if (!live || !controls) return;

  const state = controls.querySelector("[data-state]");
  const word = state.querySelector("[data-word]");
  const updated = controls.querySelector("[data-updated]");
  const pause = controls.querySelector("[data-pause]");
  const announce = document.querySelector("[data-announce]");
  const every = Number(live.dataset.every);
  let paused = false;
  let said = "";
  let timer = 0;
  let failures = 0;

  const show = (name) => {
    word.textContent = state.dataset[name];
    state.classList.toggle("is-still", name !== "live");
    state.firstElementChild.className = name === "live" ? "dot dot-live" : "dot dot-quiet";
  };

  // What the part says about itself: when it was read, and a sentence worth hearing when it changes.
  const tell = () => {
    const part = live.firstElementChild;
    if (!part) return;
    updated.textContent = part.dataset.updated || "";
    if (said && part.dataset.said && said !== part.dataset.said) announce.textContent = part.dataset.said;
    said = part.dataset.said || said;
  };

  const selecting = () => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && live.contains(selection.anchorNode);
  };

  const replace = (html) => {
    const open = [...live.querySelectorAll("details[open]")].map((element) => element.id);
    const scrolls = [...live.querySelectorAll(".scroller")].map((element) => element.scrollLeft);
    const focused = live.contains(document.activeElement) ? document.activeElement : null;
    const focusedId = focused ? focused.id || (focused.closest("[id]") || {}).id : "";
    const focusedAt = focused ? [...live.querySelectorAll("a, summary, .scroller")].indexOf(focused) : -1;
    live.innerHTML = html;
    for (const id of open) {
      const element = document.getElementById(id);
      if (element) element.open = true;
    }
    live.querySelectorAll(".scroller").forEach((element, index) => {
      element.scrollLeft = scrolls[index] || 0;
    });
    if (focused) {
      const again =
        (focused.id && document.getElementById(focusedId)) ||
        live.querySelectorAll("a, summary, .scroller")[focusedAt];
      if (again) again.focus({ preventScroll: true });
    }
    tell();
  };

  const refresh = async () => {
    if (!paused && !document.hidden && !selecting()) {
      try {
        const answer = await fetch(live.dataset.from, { headers: { "X-Fragment": "1" }, redirect: "error" });
        if (answer.status === 401) {
          location.reload();
          return;
        }
        if (!answer.ok) throw new Error(String(answer.status));
        replace(await answer.text());
        failures = 0;
        show("live");
      } catch {
        failures += 1;
        show("offline");
      }
    }
    plan();
  };

  const plan = () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, every * Math.min(8, 2 ** failures));
  };

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? pause.dataset.resumeWord : pause.dataset.pauseWord;
    show(paused ? "paused" : "live");
    if (!paused) refresh();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh();
  });

  // Where a chart is wider than the screen, begin at its end: now.
  live.querySelectorAll(".heat > .scroller").forEach((element) => {
    element.scrollLeft = element.scrollWidth;
  });
  controls.hidden = false;
  tell();
  plan();
})();
