// A proof checked in the page: SHA-256 from the leaf to the root, with nothing of the server's but the proof itself.
(() => {
  const bytes = (hex) => Uint8Array.from(hex.slice(2).match(/../g) || [], (two) => parseInt(two, 16));
  const hex = (buffer) => "0x" + Array.from(new Uint8Array(buffer), (one) => one.toString(16).padStart(2, "0")).join("");
  const join = (...parts) => {
    const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) { joined.set(part, at); at += part.length; }
    return joined;
  };
  const sha256 = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data));

  // The nodes from the item's leaf to the root, as the contract computes them.
  window.quorateProofPath = async (proof) => {
    const eight = new Uint8Array(8);
    new DataView(eight.buffer).setBigUint64(0, BigInt(proof.index));
    let node = await sha256(join(eight, bytes(proof.output)));
    let index = BigInt(proof.index);
    const path = [hex(node)];
    for (const sibling of proof.siblings) {
      node = await sha256(index & 1n ? join(bytes(sibling), node) : join(node, bytes(sibling)));
      index >>= 1n;
      path.push(hex(node));
    }
    return index === 0n ? path : null;
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-check]");
    if (!button) return;
    const said = document.getElementById("proof-checked");
    const say = (words, kind) => {
      if (said.firstChild) said.firstChild.nodeValue = words; else said.textContent = words;
      said.className = `said ${kind}`;
    };
    if (!window.crypto?.subtle) {
      say("This browser computes hashes only on https or on this machine: open the page there, or run `quorate verdict check`.", "bad");
      return;
    }
    const proof = JSON.parse(button.dataset.check);
    const path = await window.quorateProofPath(proof);
    const holds = path !== null && path[path.length - 1] === proof.root;
    for (const node of document.querySelectorAll(".drawing [data-step]"))
      if (path?.[Number(node.dataset.step)] === node.querySelector("title")?.textContent) node.classList.add("proved");
    say(
      holds
        ? `Checked here: ${path.length} SHA-256 hashes lead from item ${proof.index} to ${proof.root}, the accepted root.`
        : `This proof does not lead to the accepted root ${proof.root}: do not rely on it.`,
      holds ? "good" : "bad",
    );
  });
})();
