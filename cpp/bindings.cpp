// The Python face of the kernels: the only file that includes pybind11. Arguments are checked in
// onnxplain/native.py; here they are only translated.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "accumulate.hpp"
#include "cpu.hpp"
#include "noise.hpp"
#include "overlay.hpp"
#include "saliency.hpp"

namespace py = pybind11;
using namespace onnxplain;

namespace {

using FloatOut = py::array_t<float, py::array::c_style>;
using DoubleOut = py::array_t<double, py::array::c_style>;
using ByteOut = py::array_t<unsigned char, py::array::c_style>;

Axis axis_of(const py::array& array, py::ssize_t axis) {
    return {static_cast<std::size_t>(array.shape(axis)), static_cast<std::ptrdiff_t>(array.strides(axis))};
}

Element element_of(const py::array& array) {
    switch (array.itemsize()) {
        case 2: return Element::f16;
        case 4: return Element::f32;
        case 8: return Element::f64;
        default: throw std::invalid_argument("the gradient is not float16, float32 or float64");
    }
}

Normalization normalization_from_name(const std::string& name) {
    if (name == "none") return Normalization::none;
    if (name == "max") return Normalization::max;
    if (name == "minmax") return Normalization::minmax;
    if (name == "percentile") return Normalization::percentile;
    throw std::invalid_argument("no normalisation '" + name + "'");
}

Operation operation_from_name(const std::string& name) {
    if (name == "max_abs") return Operation::max_abs;
    if (name == "sum") return Operation::sum;
    if (name == "abs_sum") return Operation::abs_sum;
    if (name == "positive") return Operation::positive_sum;
    throw std::invalid_argument("no reduction '" + name + "'");
}

void check_threads(std::size_t threads) {
    if (threads == 0) {
        throw std::invalid_argument("threads is 0; at least one thread has to do the work");
    }
}

const unsigned char* bytes_of(const py::array& array) { return static_cast<const unsigned char*>(array.data()); }

Gradient gradient_of(const py::array& array, std::optional<py::ssize_t> image_axis,
                     std::optional<py::ssize_t> channel_axis) {
    Gradient gradient{bytes_of(array), element_of(array), {1, 0}, {1, 0}, {}};
    for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
        if (image_axis == axis) {
            gradient.images = axis_of(array, axis);
        } else if (channel_axis == axis) {
            gradient.channels = axis_of(array, axis);
        } else {
            gradient.positions.push_back(axis_of(array, axis));
        }
    }
    return gradient;
}

// Elements of the result of a reduction.
std::size_t size_of(const Gradient& gradient) {
    std::size_t size = gradient.images.extent;
    for (const Axis& axis : gradient.positions) {
        size *= axis.extent;
    }
    return size;
}

std::pair<std::size_t, std::size_t> reduce(const py::array& array, std::optional<py::ssize_t> channel_axis,
                                           const std::string& normalize, double percentile, FloatOut out,
                                           std::size_t threads, const std::string& isa,
                                           const std::string& reduction) {
    check_threads(threads);
    const Gradient gradient = gradient_of(array, 0, channel_axis);
    if (static_cast<std::size_t>(out.size()) != size_of(gradient)) {
        throw std::invalid_argument("out has the wrong size");
    }
    const SaliencyOptions options{operation_from_name(reduction), normalization_from_name(normalize), percentile,
                                  threads, isa_from_name(isa)};
    float* target = out.mutable_data();
    // Nothing below touches Python objects, and the arrays are kept alive by the caller's references, so other
    // Python threads (loading the next images, say) may run meanwhile.
    const py::gil_scoped_release released;
    const BadImages bad = saliency(gradient, target, options);
    return {bad.count, bad.first};
}

void add_up(const py::array& array, DoubleOut totals, std::optional<DoubleOut> squares, std::size_t threads,
            const std::string& isa) {
    check_threads(threads);
    const Gradient gradient = gradient_of(array, std::nullopt, 0);
    const std::size_t size = size_of(gradient);
    if (static_cast<std::size_t>(totals.size()) != size ||
        (squares && static_cast<std::size_t>(squares->size()) != size)) {
        throw std::invalid_argument("totals or squares have the wrong size");
    }
    const Isa chosen = isa_from_name(isa);
    double* sums = totals.mutable_data();
    double* sums_of_squares = squares ? squares->mutable_data() : nullptr;
    // As above: no Python object is touched from here on.
    const py::gil_scoped_release released;
    accumulate(gradient, sums, sums_of_squares, threads, chosen);
}

std::pair<std::size_t, std::size_t> colorize(const py::array_t<float>& maps,
                                             const std::optional<py::array_t<unsigned char>>& photos,
                                             const py::array_t<unsigned char, py::array::c_style>& colormap,
                                             float alpha, bool weight_by_saliency, ByteOut out, std::size_t threads,
                                             const std::string& isa) {
    check_threads(threads);
    if (maps.ndim() != 3 || colormap.size() != 768 || out.size() != 3 * maps.size() ||
        (photos && (photos->ndim() != 4 || photos->size() != out.size()))) {
        throw std::invalid_argument("saliency, photo, colormap and out do not fit together");
    }
    const SaliencyView saliency{bytes_of(maps), {maps.strides(0), maps.strides(1), maps.strides(2)}};
    PhotoView photo{};
    if (photos) {
        photo = {bytes_of(*photos), {photos->strides(0), photos->strides(1), photos->strides(2), photos->strides(3)}};
    }
    const auto extent = [&](int axis) { return static_cast<std::size_t>(maps.shape(axis)); };
    const OverlayOptions options{alpha, weight_by_saliency, threads, isa_from_name(isa)};
    const unsigned char* colors = colormap.data();
    unsigned char* target = out.mutable_data();
    // As above: no Python object is touched from here on.
    const py::gil_scoped_release released;
    const BadImages bad = overlay(saliency, photo, colors, target, extent(0), extent(1), extent(2), options);
    return {bad.count, bad.first};
}

void add_normal_noise(const py::array_t<float, py::array::c_style>& x, float deviation, std::uint64_t key,
                      FloatOut out, std::size_t threads, const std::string& isa) {
    check_threads(threads);
    if (x.size() != out.size()) {
        throw std::invalid_argument("out has the wrong size");
    }
    const Isa chosen = isa_from_name(isa);
    const auto length = static_cast<std::size_t>(x.size());
    const float* source = x.data();
    float* target = out.mutable_data();
    // As above: no Python object is touched from here on.
    const py::gil_scoped_release released;
    add_noise(source, target, length, deviation, key, threads, chosen);
}

std::vector<std::string> available_names() {
    std::vector<std::string> names;
    for (Isa isa : available_isas()) {
        names.emplace_back(isa_name(isa));
    }
    return names;
}

}  // namespace

PYBIND11_MODULE(_native, module, py::mod_gil_not_used()) {
    module.doc() = "C++ kernels of onnxplain; use onnxplain.native.";
    module.attr("__version__") = ONNXPLAIN_VERSION;
    module.def("available_instruction_sets", &available_names, "Instruction sets that run here, slowest first.");
    module.def("saliency", &reduce, py::arg("gradient"), py::arg("channel_axis").none(true), py::arg("normalize"),
               py::arg("percentile"), py::arg("out").noconvert(), py::arg("threads"), py::arg("isa"),
               py::arg("reduction") = "max_abs",
               "Write the saliency maps to out; return how many images are not finite, and the first of them.");
    module.def("accumulate", &add_up, py::arg("gradients"), py::arg("totals").noconvert(),
               py::arg("squares").noconvert().none(true), py::arg("threads"), py::arg("isa"),
               "Add the sum over the first axis to totals, and the sum of squares to squares.");
    module.def("overlay", &colorize, py::arg("saliency").noconvert(), py::arg("photo").noconvert().none(true),
               py::arg("colormap").noconvert(), py::arg("alpha"), py::arg("weight_by_saliency"),
               py::arg("out").noconvert(), py::arg("threads"), py::arg("isa"),
               "Write the blended pictures to out; return how many maps hold NaN, and the first of them.");
    module.def("add_noise", &add_normal_noise, py::arg("x").noconvert(), py::arg("deviation"), py::arg("key"),
               py::arg("out").noconvert(), py::arg("threads"), py::arg("isa"),
               "Write x plus normal noise to out.");
}
