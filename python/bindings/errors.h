// mezzo::Error as Python's exceptions.
#pragma once

namespace mezzo::python {

/// From now on an Error that leaves a bound function is raised as what mezzo/errors.py makes of it.
void translate_errors();

}  // namespace mezzo::python
