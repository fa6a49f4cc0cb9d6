// What structured output is asked for.

import { z } from "zod";

export const Place = z.object({ name: z.string(), height: z.number().int() });
