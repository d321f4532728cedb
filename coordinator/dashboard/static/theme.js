// Before anything is drawn: the theme that was chosen here, or the system's.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try { return localStorage.getItem("theme") || "system"; } catch { return "system"; }
  };
  window.quorateTheme = {
    chosen,
    apply() {
      const theme = chosen() === "system" ? (system.matches ? "dark" : "light") : chosen();
      root.dataset.theme = theme;
    },
    next() {
      const order = ["system", "light", "dark"];
      const theme = order[(order.indexOf(chosen()) + 1) % order.length];
      try { localStorage.setItem("theme", theme); } catch { /* private windows */ }
      this.apply();
      return theme;
    },
  };
  window.quorateTheme.apply();
  system.addEventListener("change", () => window.quorateTheme.apply());
})();
