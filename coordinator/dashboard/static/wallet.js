// Submitting from the page: the file goes to the server to be quantised, the transaction comes back, the wallet signs it here.
(() => {
  const $ = (id) => document.getElementById(id);
  const say = (id, words, kind = "") => {
    const element = $(id);
    if (element.firstChild?.nodeType === Node.TEXT_NODE) element.firstChild.nodeValue = words;
    else element.textContent = words;
    element.className = `said ${kind}`;
  };
  const make = (tag, words, attributes = {}) => {
    const element = document.createElement(tag);
    if (words !== undefined) element.textContent = words;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const answerOf = async (response) => {
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const detail = answer.detail ?? answer.error;
    if (Array.isArray(detail)) throw new Error(detail.map((one) => `${one.loc?.at(-1) ?? "form"}: ${one.msg}`).join("; "));
    throw new Error(typeof detail === "string" ? detail : `the server answered ${response.status}`);
  };

  let fileName = "FILE.csv";

  // ---- the file ----
  const take = async (file) => {
    if (!file) return;
    fileName = file.name;
    $("preview").replaceChildren();
    say("file-said", `Quantising ${file.name}…`);
    try {
      if (file.size > 4 * 2 ** 20) throw new Error("the file is larger than 4 MiB: submit it with `quorate job submit --data FILE`");
      const name = $("model").selectedOptions[0].dataset.name;
      const made = await answerOf(await fetch(`/dashboard/rows/${encodeURIComponent(name)}`, { method: "POST", body: file }));
      $("data_root").value = made.data_root;
      $("item_count").value = made.count;
      preview(made);
      say("file-said", `${made.count.toLocaleString("en")} rows of ${made.row_length} bytes. Put the rows file where workers can fetch it, and name the place below.`, "good");
    } catch (error) {
      say("file-said", `${error.message}`, "bad");
    }
    line();
  };
  const preview = (made) => {
    const scroll = make("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": "The first rows, quantised" });
    const table = make("table");
    table.append(make("caption", "The first rows, quantised", { class: "unseen" }));
    const head = table.createTHead().insertRow();
    head.append(make("th", "Item", { scope: "col" }), ...made.features.map((one) => make("th", one, { scope: "col", class: "number" })));
    const body = table.createTBody();
    made.first.forEach((row, index) => {
      const tr = body.insertRow();
      tr.append(make("td", index), ...row.map((byte) => make("td", byte, { class: "number" })));
    });
    scroll.append(table);
    const rows = Uint8Array.from(atob(made.rows), (one) => one.charCodeAt(0));
    const save = make("a", `Save the rows file (${rows.length.toLocaleString("en")} bytes)`, {
      class: "button", download: `${made.data_root.slice(2, 18)}.rows`,
      href: URL.createObjectURL(new Blob([rows], { type: "application/octet-stream" })),
    });
    $("preview").replaceChildren(scroll, save);
  };

  // ---- the command line ----
  const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
  const line = () => {
    const form = $("submit");
    if (!form) return;
    const words = ["quorate", "job", "submit", "--model", $("model").selectedOptions[0]?.dataset.name ?? "NAME", "--data", fileName];
    for (const name of ["data_uri", "reward", "seats", "quorum", "seat_stake", "commit_window", "reveal_window", "challenge_window", "response_window"])
      if (form.elements[name].value.trim()) words.push("--" + name.replaceAll("_", "-"), form.elements[name].value.trim());
    const text = words.map(quoted).join(" ");
    const place = $("line");
    if (place.firstChild) place.firstChild.nodeValue = text; else place.textContent = text;
    $("line-copy").dataset.copy = text;
  };

  // ---- the wallet ----
  const wanted = (form, requester) => {
    const asked = { requester, model_id: form.elements.model_id.value };
    for (const name of ["data_root", "data_uri", "reward", "seat_stake"])
      if (form.elements[name].value.trim()) asked[name] = form.elements[name].value.trim();
    for (const name of ["item_count", "seats", "quorum", "commit_window", "reveal_window", "challenge_window", "response_window"])
      if (form.elements[name].value) asked[name] = Number(form.elements[name].value);
    return asked;
  };
  const sign = async (form) => {
    const wallet = window.ethereum;
    if (!wallet) throw new Error("This browser has no wallet: install one that offers window.ethereum (EIP-1193), or use the command line below.");
    for (const [name, what] of [["data_root", "the data: drop a file above"], ["data_uri", "where workers find the rows"], ["reward", "a reward"]])
      if (!form.elements[name].value.trim()) {
        form.elements[name].setAttribute("aria-invalid", "true");
        form.elements[name].focus();
        throw new Error(`Still missing: ${what}.`);
      }
    say("sign-said", "Waiting for the wallet…");
    const [requester] = await wallet.request({ method: "eth_requestAccounts" });
    const made = await answerOf(await fetch("/dashboard/transaction", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(wanted(form, requester)),
    }));
    const chain = "0x" + made.chain_id.toString(16);
    if ((await wallet.request({ method: "eth_chainId" })) !== chain)
      await wallet.request({ method: "wallet_switchEthereumChain", params: [{ chainId: chain }] });
    say("sign-said", `Confirm in your wallet: the job costs ${made.costs}, each seat stakes ${made.seat_stake}.`);
    const transaction = await wallet.request({ method: "eth_sendTransaction", params: [made.transaction] });
    say("sign-said", `Sent as ${transaction}. `, "good");
    $("sign-said").append(make("a", "Follow the job", { href: `/jobs/${made.job_id}` }));
  };

  // ---- events; delegated, since the page may be built anew ----
  document.addEventListener("change", (event) => {
    if (event.target.id === "file") take(event.target.files[0]);
    if (event.target.id === "model" && $("file")?.files[0]) take($("file").files[0]);
  });
  document.addEventListener("input", (event) => {
    if (!event.target.closest?.("#submit")) return;
    event.target.removeAttribute("aria-invalid");
    line();
  });
  document.addEventListener("submit", async (event) => {
    if (event.target.id !== "submit") return;
    event.preventDefault();
    const button = $("sign-button");
    if (button.disabled) return;
    button.disabled = true;
    try {
      await sign(event.target);
    } catch (error) {
      say("sign-said", error?.code === 4001 ? "You declined in the wallet: nothing was sent." : `${error?.message ?? error}`, "bad");
    } finally {
      button.disabled = false;
    }
  });
  for (const name of ["dragenter", "dragover", "dragleave", "drop"])
    document.addEventListener(name, (event) => {
      const drop = event.target.closest?.("#drop");
      if (!drop) return;
      event.preventDefault();
      drop.classList.toggle("over", name === "dragenter" || name === "dragover");
      if (name === "drop") take(event.dataTransfer.files[0]);
    });
  const start = () => ($("submit") ? line() : location.pathname === "/submit" && setTimeout(start, 50));
  start();
})();
