// What the suites share: where the proxy and the backend are, and what is said.
export const URL = process.env.PROXY_URL + "/v1";
export const MODEL = "parrot";
export const KEY = "key-of-the-client";
export const PIXEL = "iVBORw0KGgo=";
export const CITY = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

export async function until(what, key) {
  const response = await fetch(`${process.env.BACKEND_URL}/${what}/${key}`);
  if (!response.ok) throw new Error(`${what}: ${response.status}`);
}

export async function collect(iterable) {
  const made = [];
  for await (const each of iterable) made.push(each);
  return made;
}
