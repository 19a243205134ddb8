/** Something that the page does not do, said in one sentence for the person in front of it. */
export class Refusal extends Error {}
