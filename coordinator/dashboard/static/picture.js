// A part of a page that is drawn from a tree of [tag, attributes, children]: text is text there, and nothing in it is run.
import { h } from "vue";

const allowed = /^(aria|data)-[a-z-]+$|^(?!on)(?!.*html$)(?!src)[a-z]+(-[a-z]+)?$|^viewBox$/;
const draw = (node) => {
  if (typeof node === "string") return node;
  const [tag, attributes, children] = node;
  if (!/^[a-z][a-z0-9]*$/.test(tag) || tag === "script" || tag === "iframe" || tag === "object") return null;
  return h(tag, Object.fromEntries(Object.entries(attributes).filter(([name]) => allowed.test(name))), children.map(draw));
};

export default {
  props: { tree: String, number: Number },
  render() {
    return h("div", { class: "live", key: this.number }, JSON.parse(this.tree).map(draw));
  },
};
