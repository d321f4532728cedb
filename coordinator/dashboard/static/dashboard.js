// What the page does between two looks at the server: count down, copy, keep the focus, and say when the server is gone.
(() => {
  const $ = (id) => document.getElementById(id);
  // Vue keeps hold of an element's text node: it is changed in place, never replaced
  const setText = (element, words) => {
    if (element.firstChild?.nodeType === Node.TEXT_NODE) element.firstChild.nodeValue = words;
    else element.textContent = words;
  };

  // ---- theme ----
  const nameTheme = () => {
    const button = $("theme");
    if (!button) return;
    const theme = window.quorateTheme.chosen();
    const words = { system: "as the system", light: "light", dark: "dark" }[theme];
    button.setAttribute("aria-label", `Theme: ${words}`);
    button.title = `Theme: ${words}`;
    setText(button, { system: "◐", light: "○", dark: "●" }[theme]);
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("#theme")) {
      window.quorateTheme.next();
      nameTheme();
    }
  });

  // ---- the chain's clock ----
  let offset = null, known = null;
  const now = () => {
    const told = $("clock")?.dataset.now;
    if (told && told !== known) {
      known = told;
      offset = Number(told) - Date.now() / 1000;
    }
    return offset === null ? null : Math.floor(Date.now() / 1000 + offset);
  };
  const duration = (seconds) => {
    for (const [size, unit, below, small] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]])
      if (seconds >= size) {
        const rest = Math.floor((seconds % size) / below);
        return `${Math.floor(seconds / size)} ${unit}` + (rest ? ` ${rest} ${small}` : "");
      }
    return `${Math.max(0, seconds)} s`;
  };
  const tick = () => {
    const time = now();
    if (time === null) return;
    for (const element of document.querySelectorAll("[data-until]")) {
      const left = Number(element.dataset.until) - time;
      const words = left > 0 ? duration(left) : "over";
      if (element.textContent !== words) setText(element, words);
      element.classList.toggle("soon", left > 0 && left < 60);
    }
    for (const element of document.querySelectorAll("[data-progress-from]")) {
      const from = Number(element.dataset.progressFrom), until = Number(element.dataset.progressUntil);
      const share = Math.min(1, Math.max(0, (time - from) / Math.max(1, until - from)));
      element.style.width = `${(100 * share).toFixed(1)}%`;
    }
    for (const element of document.querySelectorAll("[data-moment]"))
      element.title = time >= Number(element.dataset.moment) ? `${duration(time - Number(element.dataset.moment))} ago` : "";
  };
  setInterval(tick, 1000);

  // ---- copying ----
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.dataset.state = "done";
      say("Copied.");
    } catch {
      say("The browser does not let this page copy: select the text and copy it yourself.");
    }
    setTimeout(() => delete button.dataset.state, 1500);
  });

  // ---- what is said to screen readers ----
  const say = (words) => {
    let live = $("said");
    if (!live) {
      live = Object.assign(document.createElement("div"), { id: "said", className: "unseen" });
      live.setAttribute("role", "status");
      ($("content") || document.body).append(live);
    }
    live.textContent = words;
  };
  window.quorateSay = say;

  // ---- the focus outlives the rebuilding of what it was in ----
  let focused = null;
  document.addEventListener("focusin", (event) => {
    focused = event.target.dataset?.key || event.target.dataset?.copy || null;
  });
  document.addEventListener("pointerdown", () => (focused = null));
  new MutationObserver(() => {
    if (focused === null || document.activeElement !== document.body) return;
    const quoted = CSS.escape(focused);
    document.querySelector(`[data-key="${quoted}"], [data-copy="${quoted}"]`)?.focus({ preventScroll: true });
  }).observe(document.documentElement, { childList: true, subtree: true });

  // ---- the connection ----
  let lostAt = null, isLeaving = false;
  const clock = (date) => date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const banner = (words, kind) => {
    const element = $("connection");
    if (!element) return;
    setText(element, words);
    element.dataset.kind = kind;
  };
  const remember = (value) => { try { value ? sessionStorage.setItem("lost", value) : sessionStorage.removeItem("lost"); } catch { /* */ } };
  const remembered = () => { try { return sessionStorage.getItem("lost"); } catch { return null; } };
  const said = (from) => `The coordinator did not answer from ${clock(from)} to ${clock(new Date())}. `;
  const watch = () => {
    if (!window.socket) return void setTimeout(watch, 50);
    window.socket.on("disconnect", () => {
      if (isLeaving || lostAt) return;
      lostAt = new Date();
      remember(lostAt.toISOString());
      banner(`The coordinator does not answer. This page shows how things stood at ${clock(lostAt)}; it goes on by itself when the coordinator is back.`, "lost");
    });
    window.socket.on("connect", () => {
      if (lostAt === null) return;
      banner(`${said(lostAt)}This page goes on where it was.`, "back");
      lostAt = null;
      // a coordinator that was started anew knows no page of before: NiceGUI then loads it again, and `returned` says so there
      setTimeout(() => lostAt === null && remember(null), 20000);
    });
  };
  const returned = () => {
    const since = remembered();
    if (!since) return;
    remember(null);
    banner(`${said(new Date(since))}This page was loaded anew and is up to date.`, "back");
  };
  const start = () => {
    if (!$("content")) return void setTimeout(start, 30);
    nameTheme(); tick(); watch(); returned();
    if (location.hash.length > 1) $(location.hash.slice(1))?.scrollIntoView(); // it was not there when the browser looked
  };
  window.addEventListener("pagehide", () => (isLeaving = true));
  window.addEventListener("pageshow", () => (isLeaving = false));
  start();
})();
